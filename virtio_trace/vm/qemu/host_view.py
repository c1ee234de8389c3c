# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks QEMU for its view of the guest's virtio devices, and adds it to a recording's trailer.

x-query-virtio and its like exist from QEMU 7.2 on. They name a device by its path in QEMU's object
tree. Its bus address in the guest comes from the same tree: the device's addr on its bus and, for
buses behind bridges, the bus numbers that the guest assigned (query-pci). A device on an expander
bridge (pxb, pxb-pcie) is below that bridge's own root bus. A device in a PCI domain whose number
only the guest knows has no address here.

See docs/decisions/0013.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.recording.host_view import (
    Bits,
    HostDevice,
    HostQueue,
    HostView,
)
from virtio_trace.recording.trailer import TRAILER
from virtio_trace.virtio import numbers
from virtio_trace.vm.qemu.qmp import Monitor, MonitorClosedError

_PATIENCE_SECONDS = 20.0
_MARK = f'"kind":"{TRAILER}"'.encode()
_ROOT_BUSES = ("pci.0", "pcie.0")
"""What machines call the bus that is number 0 in the guest (hw/i386, hw/arm/virt.c)."""
_EXPANDER = "pxb-host"
"""The type of the host of an expander's root bus. The bus has the id of its pxb-pcie; for a pxb it
is called pxb-internal, and the bus of the only bridge on it has that id
(hw/pci-bridge/pci_expander_bridge.c)."""

_MOST_DEVICES = 1024
_MOST_QUEUES = 1024
"""VIRTIO_QUEUE_MAX (include/hw/virtio/virtio.h of QEMU)."""

_OTHER_SHAPE = (
    KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError,
    BadInputError,
)  # fmt: skip
"""What reading an answer of another shape may raise."""


def is_trailer(line: bytes) -> bool:
    """Whether LINE looks like a recording's trailer."""
    return _MARK in line[:64]


def with_host(line: bytes, monitor: Monitor, say: Callable[[str], None], dropped: int = 0) -> bytes:
    """LINE; a trailer gets the host's view as ``host``, and DROPPED more ``lost`` events.

    If QEMU cannot be queried, the view has the reason, and SAY gets it too. A trailer that already
    has a host's view is returned unchanged.
    """
    if not is_trailer(line):
        return line
    try:
        trailer = json.loads(line)
    except (ValueError, RecursionError):
        return line  # the reader of the recording reports what is wrong with it
    if not isinstance(trailer, dict) or trailer.get("kind") != TRAILER or "host" in trailer:
        return line
    view = look(monitor)
    if view.reason is not None:
        say(f"the recording has {_part(view)} of the host's own view: {view.reason}")
    added = {**trailer, "host": view.to_json()}
    if dropped and type(added.get("lost")) is int:
        added["lost"] += dropped
    return json.dumps(added, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _part(view: HostView) -> str:
    return "only part" if view.devices else "nothing"


def look(monitor: Monitor) -> HostView:
    """Every virtio device as QEMU sees it now. Never raises: ``reason`` says what failed.

    x-query-virtio-status is sent last, as QEMU 11.1 aborts on it: what the other commands returned
    is kept.
    """
    view = HostView(None, None)
    monitor.patience(_PATIENCE_SECONDS)
    try:
        version = monitor.command("query-version")
        view = replace(view, model="QEMU {major}.{minor}.{micro}".format(**version["qemu"]))
        places = _Places(monitor)
        found = [
            _outline(monitor, places, entry)
            for entry in monitor.command("x-query-virtio")[:_MOST_DEVICES]
        ]
        found.sort(key=lambda device: device.address or "~")
        view = _checked(replace(view, devices=tuple(found)))
        for index, device in enumerate(found):
            found[index] = _with_status(monitor, device)
            view = _checked(replace(view, devices=tuple(found)))
    except MonitorClosedError:
        return replace(view, reason="QEMU ended when it was asked")
    except CannotTraceError as error:
        return replace(view, reason=str(error))
    except _OTHER_SHAPE as error:
        return replace(view, reason=f"QEMU's answer has an unexpected form: {error!r:.200}")
    return view


def _checked(view: HostView) -> HostView:
    """VIEW, if a reader of the recording accepts it. Raises BadInputError."""
    HostView.from_json(view.to_json())
    return view


def _outline(monitor: Monitor, places: _Places, entry: dict[str, Any]) -> HostDevice:
    """A device without its status and features. ``name`` is such as virtio-net."""
    path = entry["path"]
    bus, address = places.of(path)
    return HostDevice(
        path=path,
        id=_type_id(entry.get("name", "")),
        bus=bus,
        address=address,
        status=None,
        guest_features=None,
        host_features=None,
        queues=tuple(_queues(monitor, path)),
    )


def _type_id(name: str) -> int:
    """The device type's number, by QEMU's name for it; 0, which no device has, if unknown."""
    word = name.removeprefix("virtio-")
    names = {"blk": "block", "serial": "console", "9p": "9p"}
    wanted = names.get(word, word)
    return next((number for number, known in numbers.DEVICE_TYPES.items() if known == wanted), 0)


def _queues(monitor: Monitor, path: str) -> Iterator[HostQueue]:
    """The device's virtqueues: from the first index that it lacks on, QEMU returns an error."""
    for number in range(_MOST_QUEUES):
        try:
            queue = monitor.command("x-query-virtio-queue-status", path=path, queue=number)
        except MonitorClosedError:
            raise
        except CannotTraceError:
            return
        yield HostQueue(queue["queue-index"], queue["vring-num"], bool(queue["vring-desc"]))


def _with_status(monitor: Monitor, device: HostDevice) -> HostDevice:
    shown = monitor.command("x-query-virtio-status", path=device.path)
    status = shown["status"]
    return replace(
        device,
        id=shown["device-id"],
        status=Bits(_names(status["statuses"]), hex(status.get("unknown-statuses", 0))),
        guest_features=_features(shown["guest-features"]),
        host_features=_features(shown["host-features"]),
        queues=device.queues[: shown["num-vqs"]],
    )


def _features(shown: dict[str, Any]) -> Bits:
    """``unknown-dev-features2`` has bits 64 to 127 (QEMU 10.2)."""
    unknown = shown.get("unknown-dev-features", 0) | shown.get("unknown-dev-features2", 0) << 64
    return Bits(_names([*shown["transports"], *shown.get("dev-features", [])]), hex(unknown))


def _names(said: list[str]) -> tuple[str, ...]:
    """The names: QEMU sends ``VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready``."""
    return tuple(line.partition(":")[0] for line in said)


class _Places:
    """Maps a path in QEMU's object tree to a bus address in the guest."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        try:
            pci = monitor.command("query-pci")
        except MonitorClosedError:
            raise
        except CannotTraceError:
            pci = []  # a QEMU without PCI
        functions = [function for bus in pci for function in _functions(bus["devices"])]
        self._roots = [bus["bus"] for bus in pci]
        self._bridges = {
            (function["bus"], function["slot"], function["function"]): function["pci_bridge"]["bus"]
            for function in functions
            if "pci_bridge" in function
        }

    def of(self, path: str) -> tuple[str | None, str | None]:
        """Bus and address as in the guest's sysfs; None if unknown.

        virtio-net-pci has its virtio-net as the child virtio-backend. A virtio-net-device is in a
        virtio-mmio transport, whose address names the device in a device tree.
        """
        device = path.removesuffix("/virtio-backend")
        if self._number(device, "addr") is not None:
            place = self._pci(device)
            if place is None:
                return "pci", None
            return "pci", "0000:{:02x}:{:02x}.{:x}".format(*place)
        transport = self._parent_bus(device).rpartition("/")[0]
        base = self._number(f"{transport}/virtio-mmio[0]", "addr")
        return (None, None) if base is None else ("platform", f"{base:x}.virtio_mmio")

    def _pci(self, device: str, below: str = "") -> tuple[int, int, int] | None:
        """Bus number, slot and function of a PCI device. BELOW is the name of its bus, if it is a
        bridge."""
        devfn = self._number(device, "addr")
        bus = self._bus_number(self._parent_bus(device), below)
        if devfn is None or bus is None or devfn < 0:
            return None
        return bus, devfn >> 3, devfn & 7

    def _bus_number(self, bus: str, below: str) -> int | None:
        """A PCI bus's number: 0 for the machine's own, an expander's, else as the guest set it in
        the bridge."""
        owner, _, name = bus.rpartition("/")
        if self._number(owner, "addr") is None:
            if name in _ROOT_BUSES:
                return 0
            # Another host bridge may be a PCI domain of its own, whose number only the guest knows.
            is_expander = self._get(owner, "type") == _EXPANDER
            return self._expander(name, below) if is_expander else None
        place = self._pci(owner, name)
        bridge = self._bridges.get(place) if place is not None else None
        return (bridge["secondary"] or None) if bridge is not None else None

    def _expander(self, name: str, below: str) -> int | None:
        """The number of the root bus NAME of an expander; BELOW is the bus of a bridge on it. An
        expander without an id has no name to find it by: then it is the only root bus besides 0,
        or unknown."""
        for one in (name, below):
            number = self._number(f"/machine/peripheral/{one}", "bus_nr")
            if number is not None:
                return number
        others = [number for number in self._roots if number]
        return others[0] if len(others) == 1 else None

    def _parent_bus(self, device: str) -> str:
        return str(self._get(device, "parent_bus") or "")

    def _number(self, path: str, name: str) -> int | None:
        value = self._get(path, name)
        return value if type(value) is int else None

    def _get(self, path: str, name: str) -> Any:
        """A property; None if the object has no property of that name."""
        try:
            return self._monitor.command("qom-get", path=path, property=name)
        except MonitorClosedError:
            raise
        except CannotTraceError:
            return None


def _functions(devices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for device in devices:
        yield device
        yield from _functions(device.get("pci_bridge", {}).get("devices", []))
