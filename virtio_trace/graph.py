# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices, drivers, bindings and the calls that made them, rebuilt from a recording's events.

A device is its bus address and a generation: one that was removed and comes back at its address
is another device. Nothing here judges; see check.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from virtio_trace import events as ev
from virtio_trace import virtio
from virtio_trace.events import DeviceRef, Event
from virtio_trace.evidence import DriverFacts
from virtio_trace.recording import Recording

TRANSPORT_PROBES = {"pci": "virtio_pci_probe", "platform": "virtio_mmio_probe"}
"""The probe point of the transport's own probe function, by the bus of the device's parent."""


@dataclass(slots=True, eq=False)
class Call:
    """One call of a probed function. ``entry`` is None where it was lost, ``ret`` where the call
    had not returned when the recording ended, or its return was lost."""

    entry: Event | None
    ret: Event | None
    parent: Call | None

    @property
    def event(self) -> Event:
        """The entry, or what there is."""
        event = self.entry or self.ret
        assert event is not None
        return event

    @property
    def result(self) -> int | None:
        """What it returned; None is unknown, or a function without a result."""
        return self.ret.result if self.ret else None

    @property
    def seqs(self) -> list[int]:
        """The sequence numbers of its events."""
        return [event.seq for event in (self.entry, self.ret) if event is not None]

    @property
    def started_ns(self) -> int | None:
        """When it was entered."""
        return self.entry.ns if self.entry else None

    @property
    def depth(self) -> int:
        """How many calls it is inside of."""
        depth, call = 0, self.parent
        while call is not None:
            depth, call = depth + 1, call.parent
        return depth

    @property
    def duration_ns(self) -> int | None:
        """How long it took."""
        return self.ret.duration_ns if self.ret else None

    def inside(self, outer: Call | None) -> bool:
        """Whether it ran within OUTER, at any depth, in the same thread."""
        call = self.parent
        while call is not None:
            if call is outer:
                return True
            call = call.parent
        return False


@dataclass(slots=True, eq=False)
class Driver:
    """One registration of a driver with the VirtIO bus. ``in_snapshot``: it was there before the
    recording began. ``early``: the first use of the driver, where that came before ``register``."""

    name: str
    facts: DriverFacts | None
    in_snapshot: bool = False
    snapshot_module: str | None = None
    loaded: Event | None = None
    register: Call | None = None
    unregister: Call | None = None
    early: Call | None = None


@dataclass(slots=True, eq=False)
class Binding:
    """One call of virtio_dev_probe: the bus's attempt to bind DRIVER to DEVICE. ``probe`` is the
    driver's own probe function inside it, ``match`` the scan that led to it."""

    device: Device
    driver: str | None
    call: Call
    match: Call | None = None
    probe: Call | None = None
    unbound: Call | None = None


@dataclass(slots=True, eq=False)
class Device:
    """A device at an address. ``snapshot`` is what sysfs said of it before the recording began."""

    address: str
    bus: str
    generation: int
    snapshot: dict[str, Any] | None = None
    ref: DeviceRef | None = None
    transport: Call | None = None
    modern: Call | None = None
    legacy: Call | None = None
    register: Call | None = None
    unregister: Call | None = None
    matches: list[Call] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        """virtioN, where it was given one."""
        if self.snapshot is not None:
            return str(self.snapshot["name"])
        if self.ref is None or self.ref.index is None:
            return None
        return f"virtio{self.ref.index}"

    @property
    def id(self) -> int | None:
        """The virtio device type's number."""
        if self.ref is not None and self.ref.id is not None:
            return self.ref.id
        return self.snapshot.get("id") if self.snapshot else None

    @property
    def vendor(self) -> int | None:
        """struct virtio_device_id.vendor: the PCI subsystem vendor on PCI."""
        if self.ref is not None and self.ref.vendor is not None:
            return self.ref.vendor
        return self.snapshot.get("vendor") if self.snapshot else None

    @property
    def bound_to(self) -> str | None:
        """The driver that has it at the end of the recording."""
        for binding in reversed(self.bindings):
            if binding.unbound is not None:
                return None
            if binding.call.result == 0:
                return binding.driver
        if self.unregister is not None or self.snapshot is None:
            return None
        return self.snapshot.get("driver")


@dataclass(slots=True)
class Graph:
    """All of a recording's. ``calls`` are in order of entry, ``modules`` has the last load of each;
    ``registrations`` has every registration of a driver, ``drivers`` the last one by name."""

    recording: Recording
    bus_register: Call | None = None
    modules: dict[str, Event] = field(default_factory=dict)
    registrations: list[Driver] = field(default_factory=list)
    drivers: dict[str, Driver] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def bindings(self) -> list[Binding]:
        """Every attempt to bind, in order of time."""
        found = [binding for device in self.devices for binding in device.bindings]
        return sorted(found, key=lambda binding: binding.call.event.seq)

    def expected_drivers(self, device: Device) -> tuple[DriverFacts, ...]:
        """The drivers in this kernel's files whose id_table matches DEVICE."""
        if device.id is None or device.vendor is None:
            return ()
        return self.recording.header.evidence.drivers_for(device.id, device.vendor)


class Nester:
    """Gives each event its call, calls nested by thread, one event at a time.

    A return closes the innermost open call of its probe point in its thread; calls inside that
    are still open have lost their return. Without an open call, the entry was lost.
    """

    def __init__(self) -> None:
        self._open: dict[int, list[Call]] = {}

    def add(self, event: Event) -> Call | None:
        """The call that EVENT begins or ends; None for a module's event."""
        if event.kind == ev.MODULE:
            return None
        stack = self._open.get(event.tid)
        if event.kind == ev.ENTRY:
            if not stack:
                call = Call(event, None, None)
                self._open[event.tid] = [call]
            else:
                call = Call(event, None, stack[-1])
                stack.append(call)
            return call
        if not stack:
            return Call(None, event, None)
        for depth in range(len(stack) - 1, -1, -1):
            call = stack[depth]
            if _is_return_of(event, call.event):
                del stack[depth:]
                if not stack:
                    del self._open[event.tid]  # threads come and go; a recorder may run for days
                call.ret = event
                return call
        return Call(None, event, stack[-1])


def nest(events: Iterable[Event]) -> Iterator[tuple[Event, Call | None]]:
    """Each event with its call (None for a module's), calls nested by thread; see Nester."""
    nester = Nester()
    for event in events:
        yield event, nester.add(event)


def _is_return_of(ret: Event, entry: Event) -> bool:
    return ret.probe == entry.probe and ret.function == entry.function


def build(recording: Recording) -> Graph:
    """Rebuild the graph. Never fails on a recording that could be read."""
    graph = Graph(recording)
    builder = _Builder(graph)
    for event, call in nest(recording.events):
        if call is None:
            graph.modules[str(event.module)] = event
        elif call.ret is None or call.entry is None:
            graph.calls.append(call)
            builder.entered(call)
            if call.ret is not None:
                builder.returned(call)
        else:
            builder.returned(call)
    builder.end()
    return graph


class _Builder:
    """Takes calls as they are entered and as they return; keeps the devices that are there now."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.evidence = graph.recording.header.evidence
        self.now: dict[str, Device] = {}
        self.generations: dict[str, int] = {}
        self.early: dict[str, Call] = {}
        self.last_match: dict[tuple[str, str | None], Call] = {}
        snapshot = graph.recording.header.snapshot
        for raw in snapshot["drivers"]:
            driver = self._driver(raw["name"])
            driver.in_snapshot = True
            driver.snapshot_module = raw.get("module")
        for raw in snapshot["devices"]:
            self._device(raw["address"], str(raw.get("bus") or "unknown"), raw)
        self._entered: dict[str, Callable[[Call], None]] = {
            "bus_register": self._bus_register,
            "register_virtio_driver": self._register_driver,
            "unregister_virtio_driver": self._unregister_driver,
            "virtio_pci_probe": self._transport,
            "virtio_mmio_probe": self._transport,
            "virtio_pci_modern_probe": self._modern,
            "virtio_pci_legacy_probe": self._legacy,
            "register_virtio_device": self._register_device,
            "unregister_virtio_device": self._unregister_device,
            "virtio_dev_match": self._match,
            "virtio_dev_probe": self._bind,
            "virtio_dev_remove": self._unbind,
            "driver_probe": self._driver_probe,
        }

    def entered(self, call: Call) -> None:
        handler = self._entered.get(str(call.event.probe))
        if handler is not None:
            handler(call)

    def returned(self, call: Call) -> None:
        """A return may know more of the device than the entry did: its index. A device that is
        unregistered is there until that returns: its driver's removal runs inside."""
        ref = call.ret.device if call.ret else None
        device = self.now.get(ref.address) if ref else None
        if device is None:
            return
        if call is device.register:
            device.ref = ref
        elif call is device.unregister:
            del self.now[device.address]

    # -- devices

    def _device(self, address: str, bus: str, snapshot: dict[str, Any] | None = None) -> Device:
        generation = self.generations.get(address, 0)
        self.generations[address] = generation + 1
        device = Device(address, bus, generation, snapshot)
        self.graph.devices.append(device)
        self.now[address] = device
        return device

    def _at(self, call: Call) -> Device | None:
        """The device that CALL is about; made where it is first seen in the middle of its life."""
        ref = call.event.device
        if ref is None:
            return None
        device = self.now.get(ref.address) or self._device(ref.address, ref.bus)
        if ref.id is not None:
            device.ref = ref
        return device

    def _transport(self, call: Call) -> None:
        ref = call.event.device
        if ref is not None:
            device = self._device(ref.address, ref.bus)
            device.transport, device.ref = call, ref

    def _modern(self, call: Call) -> None:
        device = self._at(call)
        if device is not None:
            device.modern = call

    def _legacy(self, call: Call) -> None:
        device = self._at(call)
        if device is not None:
            device.legacy = call

    def _register_device(self, call: Call) -> None:
        ref = call.event.device
        if ref is None:
            return
        device = self.now.get(ref.address)
        fresh = device is not None and device.transport and not device.register
        if device is None or not fresh or not call.inside(device.transport):
            device = self._device(ref.address, ref.bus)
        device.register, device.ref = call, ref

    def _unregister_device(self, call: Call) -> None:
        device = self._at(call)
        if device is not None:
            device.unregister = call

    def _match(self, call: Call) -> None:
        self._used(call)
        device = self._at(call)
        if device is not None:
            device.matches.append(call)
            self.last_match[device.address, call.event.driver] = call

    def _bind(self, call: Call) -> None:
        self._used(call)
        device = self._at(call)
        if device is not None:
            driver = call.event.driver
            match = self.last_match.pop((device.address, driver), None)
            device.bindings.append(Binding(device, driver, call, match))

    def _driver_probe(self, call: Call) -> None:
        device = self._at(call)
        if device is not None and device.bindings and device.bindings[-1].probe is None:
            device.bindings[-1].probe = call

    def _unbind(self, call: Call) -> None:
        device = self._at(call)
        if device is None:
            return
        if device.bindings:
            device.bindings[-1].unbound = call
        elif device.snapshot is not None:
            device.snapshot = {**device.snapshot, "driver": None}

    # -- bus and drivers

    def _bus_register(self, call: Call) -> None:
        self.graph.bus_register = call

    def _driver(self, name: str) -> Driver:
        driver = Driver(name, self.evidence.driver(name))
        self.graph.drivers[name] = driver
        self.graph.registrations.append(driver)
        return driver

    def end(self) -> None:
        """Drivers that were used and never registered are drivers too."""
        for name, call in self.early.items():
            self._driver(name).early = call

    def _used(self, call: Call) -> None:
        """Remember the use of a driver that is not there."""
        name = call.event.driver
        if name is not None:
            driver = self.graph.drivers.get(name)
            if driver is None or driver.unregister is not None:
                self.early.setdefault(name, call)

    def _register_driver(self, call: Call) -> None:
        name = call.event.driver
        if name is None:
            return
        driver = self._driver(name)
        driver.register = call
        driver.early = self.early.pop(name, None)
        if driver.facts is not None:
            driver.loaded = self.graph.modules.get(driver.facts.module)

    def _unregister_driver(self, call: Call) -> None:
        name = call.event.driver
        if name is not None:
            driver = self.graph.drivers.get(name) or self._driver(name)
            driver.unregister = call


def transport(device: Device) -> str:
    """pci-modern, pci-legacy, mmio, ccw, vdpa or unknown; see docs/contract of report."""
    if device.bus == "platform":
        return "mmio"
    if device.bus in ("ccw", "vdpa"):
        return device.bus
    if device.bus != "pci":
        return "unknown"
    if device.modern is not None and device.modern.result == 0:
        return "pci-modern"
    if device.legacy is not None and device.legacy.result == 0:
        return "pci-legacy"
    return _transport_by_ids(device)


def _transport_by_ids(device: Device) -> str:
    """What a PCI device id says: from 0x1040 on there is no legacy interface (4.1.2.1).

    Below, what was negotiated before the recording began: Linux binds no modern device without
    VIRTIO_F_VERSION_1 (virtio_pci_modern.c, vp_finalize_features); a legacy one has no such bit.
    """
    snapshot = device.snapshot or {}
    pci = snapshot.get("pci") or {}
    number = pci.get("device")
    if number is None and device.ref is not None:
        number = device.ref.pci_device
    if type(number) is int and number >= virtio.PCI_MODERN_FIRST:
        return "pci-modern"
    features = snapshot.get("features")
    if snapshot.get("driver") and type(features) is str and len(features) > virtio.F_VERSION_1:
        return "pci-modern" if features[virtio.F_VERSION_1] == "1" else "pci-legacy"
    return "unknown"
