# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks QEMU what it thinks of the guest's virtio devices, and puts that into a trailer.

x-query-virtio and its like are there from QEMU 7.2 on. They name a device by its place in QEMU's
object tree; which bus address that is to the guest is asked of the same tree: the device's addr on
its bus, and for buses behind bridges the numbers that the guest gave them (query-pci).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.recording.header import TRAILER
from virtio_trace.recording.host_view import Bits, HostDevice, HostQueue, HostView, host_from_json
from virtio_trace.vm.qemu.qmp import Monitor

_PATIENCE_SECONDS = 20.0
_MARK = f'"kind":"{TRAILER}"'.encode()
_ROOT_BUSES = ("pci.0", "pcie.0")
"""What machines call the bus that the guest knows as number 0 (hw/i386, hw/arm/virt.c)."""


def with_host(line: bytes, monitor: Monitor, say: Callable[[str], None]) -> bytes:
    """LINE; a trailer with the host's view added as its ``host``. Where QEMU cannot tell, the
    reason is in there, and said. A trailer that has one already is left alone."""
    if _MARK not in line[:64]:
        return line
    try:
        trailer = json.loads(line)
    except (ValueError, RecursionError):
        return line  # who reads the recording says what is wrong with it
    if not isinstance(trailer, dict) or trailer.get("kind") != TRAILER or "host" in trailer:
        return line
    view = look(monitor)
    if view.reason is not None:
        say(f"the host's own view is not in the recording: {view.reason}")
    added = {**trailer, "host": view.to_json()}
    return json.dumps(added, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def look(monitor: Monitor) -> HostView:
    """Every virtio device as QEMU has it now. Never raises: what failed is the ``reason``."""
    model = None
    monitor.patience(_PATIENCE_SECONDS)
    try:
        version = monitor.command("query-version")
        model = "QEMU {major}.{minor}.{micro}".format(**version["qemu"])
        places = _Places(monitor)
        found = [
            _device(monitor, places, entry["path"]) for entry in monitor.command("x-query-virtio")
        ]
    except CannotTraceError as error:
        return HostView(model, None, str(error))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return HostView(model, None, f"QEMU's answer is another than expected: {error!r}")
    view = HostView(model, tuple(sorted(found, key=lambda device: device.address or "~")))
    try:
        host_from_json(view.to_json())  # one that cannot be read would condemn the recording
    except BadInputError as error:
        return HostView(model, None, f"QEMU's answer is another than expected: {error}")
    return view


def _device(monitor: Monitor, places: _Places, path: str) -> HostDevice:
    shown = monitor.command("x-query-virtio-status", path=path)
    queues = [
        monitor.command("x-query-virtio-queue-status", path=path, queue=number)
        for number in range(shown["num-vqs"])
    ]
    bus, address = places.of(path)
    status = shown["status"]
    return HostDevice(
        path=path,
        id=shown["device-id"],
        bus=bus,
        address=address,
        status=Bits(_names(status["statuses"]), hex(status.get("unknown-statuses", 0))),
        guest_features=_features(shown["guest-features"]),
        host_features=_features(shown["host-features"]),
        queues=tuple(
            HostQueue(queue["queue-index"], queue["vring-num"], bool(queue["vring-desc"]))
            for queue in queues
        ),
    )


def _features(shown: dict[str, Any]) -> Bits:
    """``unknown-dev-features2`` has bits 64 to 127 (QEMU 10.2)."""
    unknown = shown.get("unknown-dev-features", 0) | shown.get("unknown-dev-features2", 0) << 64
    return Bits(_names([*shown["transports"], *shown.get("dev-features", [])]), hex(unknown))


def _names(said: list[str]) -> tuple[str, ...]:
    """``VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready`` is its name."""
    return tuple(line.partition(":")[0] for line in said)


class _Places:
    """Which bus address of the guest a place in QEMU's object tree is."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        try:
            pci = monitor.command("query-pci")
        except CannotTraceError:
            pci = []  # a QEMU without PCI
        functions = [function for bus in pci for function in _functions(bus["devices"])]
        self._bridges = {
            (function["bus"], function["slot"], function["function"]): function["pci_bridge"]["bus"]
            for function in functions
            if "pci_bridge" in function
        }

    def of(self, path: str) -> tuple[str | None, str | None]:
        """Bus and address as the guest's sysfs has them; None is unknown.

        virtio-net-pci has its virtio-net as the child virtio-backend; a virtio-net-device sits in
        a virtio-mmio transport itself, whose address names the device of a device tree.
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

    def _pci(self, device: str) -> tuple[int, int, int] | None:
        """Bus number, slot and function of a PCI device."""
        devfn = self._number(device, "addr")
        bus = self._bus_number(self._parent_bus(device))
        if devfn is None or bus is None or devfn < 0:
            return None
        return bus, devfn >> 3, devfn & 7

    def _bus_number(self, bus: str) -> int | None:
        """That of a PCI bus: 0 for the machine's own, else what the guest gave the bridge."""
        owner, _, name = bus.rpartition("/")
        if self._number(owner, "addr") is None:
            return 0 if name in _ROOT_BUSES else None
        place = self._pci(owner)
        bridge = self._bridges.get(place) if place is not None else None
        return (bridge["secondary"] or None) if bridge is not None else None

    def _parent_bus(self, device: str) -> str:
        return str(self._get(device, "parent_bus") or "")

    def _number(self, path: str, name: str) -> int | None:
        value = self._get(path, name)
        return value if type(value) is int else None

    def _get(self, path: str, name: str) -> Any:
        """A property, None where the object has none of that name."""
        try:
            return self._monitor.command("qom-get", path=path, property=name)
        except CannotTraceError:
            return None


def _functions(devices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for device in devices:
        yield device
        yield from _functions(device.get("pci_bridge", {}).get("devices", []))
