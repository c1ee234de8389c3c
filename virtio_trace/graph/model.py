# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph as data: drivers, devices and bindings. builder.py builds it from events.

A device is identified by its bus address and a generation: a device that is removed and comes back
at its address is another device. Nothing here judges; check/ does.

See docs/decisions/0004.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from errno import ENODEV

from virtio_trace.graph.calls import Call
from virtio_trace.graph.integrity import Integrity
from virtio_trace.graph.losses import Losses
from virtio_trace.graph.negotiation import Negotiation
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.recording.events import DeviceRef, Event
from virtio_trace.recording.evidence import DriverFacts
from virtio_trace.recording.machine_state import LogLine, PciFunction
from virtio_trace.recording.source import Source
from virtio_trace.virtio import numbers, transports


class NotYetError(Exception):
    """The answer depends on events that were not read yet."""


@dataclass(slots=True, eq=False)
class Driver:
    """One registration of a driver with the VirtIO bus. ``in_snapshot``: it was registered before
    the recording began. ``early``: the first use of the driver, if that came before ``register``.
    ``facts`` are what the kernel's files say of it, None if nothing. ``loaded`` is the load of its
    module. ``order`` counts the registrations."""

    name: str
    facts: DriverFacts | None
    order: int = 0
    in_snapshot: bool = False
    snapshot_module: str | None = None
    loaded: Event | None = None
    register: Call | None = None
    unregister: Call | None = None
    early: Call | None = None

    @property
    def is_open(self) -> bool:
        """Whether one of its calls has not returned."""
        calls = self.register, self.unregister, self.early
        return any(call is not None and call.is_open for call in calls)


@dataclass(slots=True, eq=False)
class Binding:
    """One call of virtio_dev_probe: the bus tries to bind ``driver`` to ``device``.

    ``match`` is the virtio_dev_match that led to it, ``probe`` the call of the driver's own probe
    function inside it, ``unbound`` the virtio_dev_remove that ended the binding.
    """

    device: Device
    driver: str | None
    call: Call
    match: Call | None = None
    probe: Call | None = None
    unbound: Call | None = None
    negotiation: Negotiation = field(default_factory=Negotiation)


@dataclass(slots=True, eq=False)
class Device:
    """A device at an address. ``snapshot`` is what sysfs showed of it before the recording began,
    ``at_end`` what it showed at the end, ``function`` of its PCI function then. ``removals`` has
    every virtio_dev_remove, ``init_calls`` every call that shows a step of its initialisation (see
    attempts.py), ``restores`` every virtio_device_restore. ``order`` counts the devices of a
    recording in the order in which they appear."""

    address: str
    bus: str
    generation: int
    order: int = 0
    snapshot: SysfsDevice | None = None
    ref: DeviceRef | None = None
    transport: Call | None = None
    modern: Call | None = None
    legacy: Call | None = None
    register: Call | None = None
    unregister: Call | None = None
    matches: list[Call] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    removals: list[Call] = field(default_factory=list)
    status: list[Event] = field(default_factory=list)
    init_calls: list[Call] = field(default_factory=list)
    restores: list[Call] = field(default_factory=list)
    function: PciFunction | None = None
    at_end: SysfsDevice | None = None

    @property
    def carries(self) -> tuple[str, ...]:
        """Its network interfaces and disks, as far as the recording's beginning and end show."""
        shown = (self.snapshot, self.at_end)
        return tuple(dict.fromkeys(name for one in shown if one for name in one.carries))

    @property
    def is_open(self) -> bool:
        """Whether one of its calls has not returned."""
        calls = [self.transport, self.modern, self.legacy, self.register, self.unregister]
        calls += [*self.matches, *self.removals, *self.init_calls, *self.restores]
        for binding in self.bindings:
            found = binding.negotiation
            calls += [binding.call, binding.match, binding.probe, found.validate]
            calls += [found.features_ok, *found.find_vqs, *found.msix, *found.setups]
        for call in calls:  # noqa: SIM110 - any() is slower, and there may be many devices
            if call is not None and call.ret is None and not call.is_lost:
                return True
        return False

    @property
    def maybe_empty(self) -> bool:
        """Whether virtio_mmio_probe returned the errno it returns for an empty slot."""
        call = self.transport
        return (
            call is not None
            and call.event.probe == transports.MMIO.probe
            and call.result == -ENODEV
            and self.register is None
        )

    @property
    def untouched(self) -> bool:
        """Whether it is a PCI device without any event: no transport's probe was called for it."""
        met = self.transport or self.register or self.snapshot or self.matches or self.bindings
        return self.function is not None and not met and not self.status and self.ref is None

    @property
    def name(self) -> str | None:
        """virtioN; None before it is assigned, or if it is unknown."""
        if self.snapshot is not None:
            return self.snapshot.name
        if self.ref is None or self.ref.index is None:
            return None
        return f"virtio{self.ref.index}"

    @property
    def id(self) -> int | None:
        """The number of its virtio device type (VIRTIO_ID_*); None if unknown."""
        if self.ref is not None and self.ref.id is not None:
            return self.ref.id
        if self.snapshot is None and self.function is not None:
            return self.function.virtio_id
        return self.snapshot.id if self.snapshot else None

    @property
    def vendor(self) -> int | None:
        """struct virtio_device_id.vendor: the PCI subsystem vendor on PCI."""
        if self.ref is not None and self.ref.vendor is not None:
            return self.ref.vendor
        return self.snapshot.vendor if self.snapshot else None

    @property
    def bound_to(self) -> str | None:
        """The driver that it is bound to at the end of the recording, or None."""
        for binding in reversed(self.bindings):
            if binding.unbound is not None:
                return None
            if binding.call.result == 0:
                return binding.driver
        if self.unregister is not None or self.removals or self.snapshot is None:
            return None
        return self.snapshot.driver


@dataclass(slots=True)
class Graph:
    """What was built from one recording.

    ``modules`` has the last load of each module, ``first_module`` the first of all, ``inits`` the
    last do_init_module of each. ``registrations`` has every registration of a driver, ``drivers``
    the last one of each name; ``first_registration`` is the first one of a driver or a device.
    ``open_calls`` have no return. ``buses`` counts the devices of each bus. ``first_of`` has the
    order of the first device at each address. ``log`` has the kernel's messages by the words in
    them. A virtio-mmio slot whose probe ran is among the devices; check/empty_slots.py decides
    whether it is empty. ``tries`` counts the bindings by address, ``tries_of_name`` by the names of
    the devices that are complete. ``ended_ns``: the time of the last event, or the start of the
    recording without one.

    While events are still read, ``ended`` is False. A follower (builder.Follower) may take devices
    and registrations; those are then missing from ``devices`` and ``registrations``. The last
    device at each address is never taken.
    """

    recording: Source
    bus_register: Call | None = None
    modules: dict[str, Event] = field(default_factory=dict)
    first_module: Event | None = None
    registrations: list[Driver] = field(default_factory=list)
    first_registration: Call | None = None
    drivers: dict[str, Driver] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    buses: Counter[str] = field(default_factory=Counter)
    first_of: dict[str, int] = field(default_factory=dict)
    open_calls: list[Call] = field(default_factory=list)
    inits: dict[str, Call] = field(default_factory=dict)
    log: dict[str, list[LogLine]] = field(default_factory=dict)
    integrity: Integrity = field(default_factory=Integrity)
    ended_ns: int = 0
    ended: bool = False
    tries: Counter[str] = field(default_factory=Counter)
    tries_of_name: Counter[str | None] = field(default_factory=Counter)
    losses: Losses = field(init=False)
    _last: dict[str, Device] | None = None
    _iommus: list[Device] | None = None

    def __post_init__(self) -> None:
        self.losses = Losses(self.recording)

    @property
    def latest(self) -> dict[str, Device]:
        """The last device at each address, in the order of the first ones."""
        found = {device.address: device for device in self.devices}
        order = self.first_of
        return dict(sorted(found.items(), key=lambda item: order.get(item[0], item[1].order)))

    def last_at(self, address: str) -> Device | None:
        """The last device at ADDRESS. Raises NotYetError."""
        self.need_end()
        if self._last is None:
            self._last = {device.address: device for device in self.devices}
        return self._last.get(address)

    def iommus(self) -> list[Device]:
        """The VirtIO IOMMUs. Raises NotYetError."""
        self.need_end()
        if self._iommus is None:
            self._iommus = [device for device in self.devices if device.id == numbers.IOMMU]
        return self._iommus

    def need_end(self) -> None:
        """Raises NotYetError unless every event was read."""
        if not self.ended:
            raise NotYetError

    def is_only_try(self, subject: Binding) -> bool:
        """Whether no other binding was tried of a device with its name or address. Raises
        NotYetError."""
        device = subject.device
        if self.tries[device.address] > 1 or self.tries_of_name[device.name] > 1:
            return False
        self.need_end()
        return True

    def expected_drivers(self, device: Device) -> tuple[DriverFacts, ...]:
        """The drivers in the recorded kernel's files whose id_table matches DEVICE."""
        if device.id is None or device.vendor is None:
            return ()
        return self.recording.header.evidence.drivers_for(device.id, device.vendor)


def transport(device: Device) -> str:
    """pci-modern, pci-legacy, mmio, ccw, vdpa or unknown."""
    known = transports.BY_BUS.get(device.bus)
    if known is None:
        return device.bus if device.bus in ("ccw", "vdpa") else "unknown"
    if known.name is not None:
        return known.name
    if device.modern is not None and device.modern.result == 0:
        return "pci-modern"
    if device.legacy is not None and device.legacy.result == 0:
        return "pci-legacy"
    return _transport_by_ids(device)


def _transport_by_ids(device: Device) -> str:
    """The interface of a PCI device whose probe was not seen.

    Device ids from 0x1040 on have no legacy interface (4.1.2.1). For lower ids, the features
    negotiated before the recording began decide: Linux requires VIRTIO_F_VERSION_1 of a modern
    device (virtio_pci_modern.c, vp_finalize_features), and a legacy device has no such bit.
    """
    snapshot = device.snapshot
    pci = snapshot.pci if snapshot is not None else None
    number = pci.device if pci is not None else None
    if number is None and device.ref is not None:
        number = device.ref.pci_device
    if number is None and device.function is not None:
        number = device.function.device
    if number is not None and number >= numbers.PCI_MODERN_FIRST:
        return "pci-modern"
    features = snapshot.features if snapshot is not None and snapshot.driver else None
    if features is not None and len(features) > numbers.F_VERSION_1:
        return "pci-modern" if features[numbers.F_VERSION_1] == "1" else "pci-legacy"
    if pci is not None and pci.modern is not None:  # Linux prefers the modern interface
        return "pci-modern" if pci.modern else "pci-legacy"
    return "unknown"
