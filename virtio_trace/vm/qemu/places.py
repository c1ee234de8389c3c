# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a device of QEMU's object tree is in the guest.

Its bus address comes from the same tree: the device's addr on its bus and, for buses behind
bridges, the bus numbers that the guest assigned (query-pci). A device on an expander bridge (pxb,
pxb-pcie) is below that bridge's own root bus. A device in a PCI domain whose number only the guest
knows has no address here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.qemu.qmp import Monitor, MonitorClosedError

_ROOT_BUSES = ("pci.0", "pcie.0")
"""What machines call the bus that is number 0 in the guest (hw/i386, hw/arm/virt.c)."""
_EXPANDER = "pxb-host"
"""The type of the host of an expander's root bus. The bus has the id of its pxb-pcie; for a pxb it
is called pxb-internal, and the bus of the only bridge on it has that id
(hw/pci-bridge/pci_expander_bridge.c)."""


class Places:
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
