# SPDX-License-Identifier: GPL-2.0-or-later
"""What the names that a user gives stand for in a recording.

A device has its bus address, its name on the VirtIO bus (virtio0) and the names of the interfaces
and disks that it carries (ens10, vdb). The last two may pass to another device while a recording
runs: such a name stands for each of them. A driver stands for the devices that it was used for, and
for those that its id_table matches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from virtio_trace.check.scope import EVERYTHING, USES, NamedScope, Scope
from virtio_trace.errors import UsageError
from virtio_trace.recording.bus_state import BusState, SysfsDevice
from virtio_trace.recording.events import DeviceRef, Event
from virtio_trace.recording.evidence import VIRTIO_DEV_ANY_ID, DriverFacts, Evidence
from virtio_trace.recording.source import Source
from virtio_trace.recording.trailer import Trailer
from virtio_trace.virtio import numbers

_REGISTERS = frozenset({"register_virtio_driver", "unregister_virtio_driver"})
_MOST = 50
"""Devices that a message lists."""


@dataclass(slots=True)
class KnownDevice:
    """What a recording has of the device, or the devices, at an address. ``ids`` are its virtio
    device types, each with the vendor if that is known. ``used`` are the drivers that were bound or
    tried."""

    address: str
    bus: str | None = None
    names: dict[str, None] = field(default_factory=dict)
    ids: set[tuple[int, int | None]] = field(default_factory=set)
    type: str | None = None
    used: set[str] = field(default_factory=set)

    def is_called(self, name: str) -> bool:
        """Whether NAME is its address, or another name of it."""
        plain = name.removeprefix("/dev/")
        return plain == self.address or plain in self.names

    @property
    def words(self) -> str:
        """``0000:00:02.0 (virtio0, eth0, net)``."""
        more = ", ".join([*self.names, *filter(None, [self.type])])
        return f"{self.address} ({more})" if more else self.address


class Names:
    """The devices and drivers of a recording: of its SNAPSHOT, then of each event, then of its
    trailer. EVIDENCE is that of its header."""

    def __init__(self, evidence: Evidence, snapshot: BusState) -> None:
        self._evidence = evidence
        self.devices: dict[str, KnownDevice] = {}
        self.drivers: set[str] = {known.name for known in snapshot.drivers}
        self._refs: set[DeviceRef] = set()
        self._sysfs(snapshot.devices)

    def event(self, event: Event) -> None:
        """Take EVENT."""
        ref, driver = event.device, event.driver
        if ref is not None and ref not in self._refs:
            self._refs.add(ref)
            known = self._at(ref.address, ref.bus)
            if ref.index is not None:
                known.names.setdefault(f"virtio{ref.index}")
            self._ids(known, ref.id, ref.vendor)
        if driver is not None:
            if event.probe in _REGISTERS:
                self.drivers.add(driver)
            elif ref is not None and event.probe in USES:
                self.devices[ref.address].used.add(driver)

    def end(self, trailer: Trailer | None) -> None:
        """Take what the TRAILER has."""
        state = trailer.end_state if trailer is not None else None
        if state is None:
            return
        self._sysfs(state.devices)
        self.drivers |= {known.name for known in state.drivers}
        for function in state.pci:
            known = self._at(function.address, "pci")
            if not known.ids:
                self._ids(known, function.virtio_id, None)

    def of(self, name: str) -> list[KnownDevice]:
        """The devices called NAME."""
        return [known for known in self.devices.values() if known.is_called(name)]

    def concerning(self, known: KnownDevice) -> set[str]:
        """The drivers that were used for the device, or whose id_table matches it."""
        matching = (
            driver.name
            for driver in self._evidence.drivers
            if any(_may_match(driver, *pair) for pair in known.ids)
        )
        return known.used.union(matching)

    def scope(self, devices: Collection[str], drivers: Collection[str]) -> Scope:
        """The devices called DEVICES and those of DRIVERS; if both are given, those that both
        select. Raises UsageError for a name that is not in the recording, and lists what is."""
        if not devices and not drivers:
            return EVERYTHING
        self.check(devices, drivers)
        found = [known for name in devices for known in self.of(name)] or [*self.devices.values()]
        if drivers:
            wanted = {*drivers}
            both = [known for known in found if not wanted.isdisjoint(self.concerning(known))]
            if devices and not both:
                raise UsageError(
                    f"{', '.join(drivers)} has nothing to do with {', '.join(devices)}",
                    self._listed(found, "their drivers are", *map(self.concerning, found)),
                )
            found = both
        return self.scope_of(found, drivers)

    def scope_of(self, found: Iterable[KnownDevice], drivers: Collection[str] = ()) -> Scope:
        """The scope of the devices FOUND, and of DRIVERS."""
        found = [*found]
        used = {name for known in found for name in known.used} | {*drivers}
        facts = {driver.name for driver in self._evidence.drivers}
        return NamedScope(
            evidence=self._evidence,
            addresses=frozenset(known.address for known in found),
            drivers=frozenset({*drivers}.union(*map(self.concerning, found))),
            buses=frozenset(known.bus for known in found if known.bus is not None),
            has_facts=used <= facts and all(known.used for known in found),
        )

    def check(self, devices: Collection[str], drivers: Collection[str] = ()) -> None:
        """Raises UsageError for a name that neither a device nor a driver has, and lists those that
        have one."""
        for name in devices:
            if not self.of(name):
                there = [*self.devices.values()]
                raise UsageError(f"no device is called {name}", self._listed(there, "there are"))
        concerned = self.drivers.union(*map(self.concerning, self.devices.values()))
        for name in drivers:
            if name not in concerned:
                hint = ", ".join(sorted(concerned))
                raise UsageError(
                    f"no driver is called {name}", f"there are: {hint}" if hint else "there is none"
                )

    def _listed(self, found: list[KnownDevice], what: str, *drivers: set[str]) -> str:
        if drivers:
            return f"{what}: {', '.join(sorted(set().union(*drivers))) or 'unknown'}"
        if not found:
            return "there is no device"
        more = f"\n  and {len(found) - _MOST} more" if len(found) > _MOST else ""
        return f"{what}:" + "".join(f"\n  {known.words}" for known in found[:_MOST]) + more

    def _at(self, address: str, bus: str | None) -> KnownDevice:
        known = self.devices.setdefault(address, KnownDevice(address))
        known.bus = known.bus or bus
        return known

    def _ids(self, known: KnownDevice, device: int | None, vendor: int | None) -> None:
        if device is not None:
            known.type = numbers.device_type(device)
            known.ids.add((device, vendor))

    def _sysfs(self, devices: Iterable[SysfsDevice]) -> None:
        for device in devices:
            known = self._at(device.address, device.bus)
            for name in (device.name, *device.carries):
                known.names.setdefault(name)
            self._ids(known, device.id, device.vendor)
            if device.driver is not None:
                known.used.add(device.driver)


def _may_match(driver: DriverFacts, device: int, vendor: int | None) -> bool:
    """Whether the id_table of DRIVER has the device; any vendor, if that is unknown."""
    if vendor is not None:
        return driver.accepts(device, vendor)
    return any(known in (device, VIRTIO_DEV_ANY_ID) for known, _ in driver.ids)


def names(recording: Source) -> Names:
    """The devices and drivers of RECORDING, which is read once. Raises BadInputError."""
    found = Names(recording.header.evidence, recording.header.snapshot)
    for event in recording:
        found.event(event)
    found.end(recording.trailer)
    return found


def scope(recording: Source, devices: Collection[str], drivers: Collection[str]) -> Scope:
    """The scope of the names DEVICES and DRIVERS in RECORDING. Raises BadInputError, UsageError."""
    if not devices and not drivers:
        return EVERYTHING
    return names(recording).scope(devices, drivers)
