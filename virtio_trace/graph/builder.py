# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph rebuilt from a recording's events: calls nested by thread, then devices and drivers."""

from __future__ import annotations

import re
from collections.abc import Callable

from virtio_trace.graph.builder_drivers import DriversBuilder
from virtio_trace.graph.builder_negotiation import NegotiationBuilder
from virtio_trace.graph.calls import Call, Nester
from virtio_trace.graph.follower import Follower, Succession, Watch
from virtio_trace.graph.integrity import Examiner
from virtio_trace.graph.model import Binding, Device, Graph
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.recording.events import HIT, Event
from virtio_trace.recording.machine_state import EndState
from virtio_trace.recording.source import Source
from virtio_trace.virtio.numbers import Status
from virtio_trace.virtio.transports import PROBES, TRANSPORTS

_WORD = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|[0-9a-f]+\.\w+|\w+")
"""A PCI address, the name of a platform device, or any other word."""

_INIT_CALLS = {"virtio_dev_probe", "virtio_features_ok", "find_vqs", "setup_vq"}
"""The calls with an entry that go to ``Device.init_calls``; NegotiationBuilder adds the hits."""

_BEGINS = {*PROBES, *(name for one in TRANSPORTS for name, _ in one.interfaces)} | {
    "register_virtio_device"
}
"""The calls that are made only for a device that is not on the VirtIO bus yet. Any of these probe
points may be missing in a recording."""

_BRINGS_UP = (_INIT_CALLS | _BEGINS) | {
    "virtio_dev_match", "driver_features", "get_features", "driver_validate", "driver_probe",
    "find_vqs_msix",
}  # fmt: skip
"""The calls about a device that unregister_virtio_device does not make."""

_RESTORE = "virtio_device_restore"


def build(recording: Source, follower: Follower | None = None) -> Graph:
    """Rebuild the graph, and keep what FOLLOWER does not take. Raises BadInputError, but never on
    a recording that was read before."""
    graph = Graph(recording)
    builder = _Builder(graph, follower)
    nester = Nester(graph.open_calls, builder.lost)
    examiner = Examiner(recording)
    add, examine = nester.add, examiner.event
    entered, returned, hit = builder.entered, builder.returned, builder.hit
    graph.integrity = examiner.found
    ended = -1
    for event in recording:
        if event.ns > ended:
            graph.ended_ns = ended = event.ns
        call = add(event)
        if call is None:
            builder.module(event)
            continue
        examine(event)
        if event.kind == HIT:
            hit(call)
        elif call.ret is None:
            entered(call)
        else:
            if call.entry is None:
                entered(call)
            examiner.returned(call)
            returned(call)
    if ended < 0:
        graph.ended_ns = recording.header.started_ns or 0
    graph.open_calls += nester.open_calls()
    graph.open_calls.sort(key=lambda call: call.event.seq)
    graph.integrity.crossed.sort(key=lambda call: call.event.seq)
    builder.end()
    return graph


def _begun(recording: Source) -> set[tuple[str, str]]:
    """The drivers and devices in the snapshot whose registration was recorded nevertheless: at
    boot, or between arming and the snapshot."""
    until = recording.header.snapshot_ns
    found = set()
    for event in recording if until is not None else ():
        if event.ns > (until or 0):
            break
        if event.probe == "register_virtio_driver" and event.driver:
            found.add(("driver", event.driver))
        elif event.probe in _BEGINS and event.device:
            found.add(("device", event.device.address))
    return found


def _is_probed_in(device: Device, register: Call) -> bool:
    """Whether REGISTER registers DEVICE: the transport's probe, or what was seen of it, has called
    it."""
    if device.register is not None:
        return False
    if device.transport is not None:
        return register.inside(device.transport)
    return device.modern is not None or device.legacy is not None


class _Builder:
    """Takes calls as they are entered and as they return; keeps the devices that exist now."""

    def __init__(self, graph: Graph, follower: Follower | None) -> None:
        self.graph = graph
        self.follower = follower
        if follower is not None:
            follower.begin(graph)
        self.kept: dict[int, Device] = {}
        self.succession = Succession(graph, self.kept, follower)
        self.watch = Watch(follower)
        self.watches = follower.watches if follower is not None else frozenset()
        self.places = follower is not None and follower.places
        self.drivers = DriversBuilder(graph, follower)
        self.negotiations = NegotiationBuilder(self._at)
        self.losses = graph.losses
        self.now: dict[str, Device] = {}
        self.last: dict[str, Device] = {}
        self.early: dict[str, list[Call]] = {}
        self.number = 0
        self.last_match: dict[tuple[str, str | None], Call] = {}
        self._log()
        self._snapshot()
        self._entered: dict[str | None, Callable[[Call], None]] = {
            **self.drivers.handlers,
            **self.negotiations.handlers,
            **dict.fromkeys(PROBES, self._transport),
            "virtio_pci_modern_probe": self._modern,
            "virtio_pci_legacy_probe": self._legacy,
            "register_virtio_device": self._register_device,
            "unregister_virtio_device": self._unregister_device,
            "virtio_dev_match": self._match,
            "virtio_dev_probe": self._bind,
            "virtio_dev_remove": self._unbind,
            "driver_probe": self._driver_probe,
        }

    def _log(self) -> None:
        trailer = self.graph.recording.trailer
        if trailer is not None and trailer.log is not None:
            for line in trailer.log.lines:
                for word in set(_WORD.findall(f"{line.text} {line.device or ''}")):
                    self.graph.log.setdefault(word, []).append(line)

    def _snapshot(self) -> None:
        begun = _begun(self.graph.recording)
        snapshot = self.graph.recording.header.snapshot
        for known in snapshot.drivers:
            if ("driver", known.name) not in begun:
                driver = self.drivers.add(known.name)
                driver.in_snapshot = True
                driver.snapshot_module = known.module
        for device in snapshot.devices:
            if ("device", device.address) not in begun:
                self._device(device.address, device.bus or "unknown", device)

    def module(self, event: Event) -> None:
        """The load of a module."""
        graph = self.graph
        graph.modules[str(event.module)] = event
        graph.first_module = graph.first_module or event
        if self.places and self.follower is not None:
            call = Call(event, event, None)
            self.follower.entered(call)
            self.follower.returned(call)

    def lost(self, number: int, event: Event) -> None:
        """NUMBER events are missing before EVENT."""
        self.losses.gap(event)
        if self.follower is not None:
            self.follower.lost(number, self.graph.ended_ns)

    def entered(self, call: Call) -> None:
        probe = call.event.probe
        handler = self._entered.get(probe)
        if handler is not None:
            handler(call)
        if probe in _INIT_CALLS and call.entry is not None:
            device = self._at(call)
            if device is not None:
                device.init_calls.append(call)
        if self.places and self.follower is not None:
            self._about(call)
            self.follower.entered(call)
        elif probe == _RESTORE:
            self._about(call)
        if probe in self.watches:
            self.watch.entered(call, self.last)

    def hit(self, call: Call) -> None:
        """Take a call of a function of which only the entry or only the return is traced."""
        self.negotiations.hit(call)
        if self.places and self.follower is not None:
            self._about(call)
            self.follower.entered(call)
            self.follower.returned(call)

    def _about(self, call: Call) -> None:
        ref = call.event.device
        device = self.last.get(ref.address) if ref is not None else None
        if device is not None:
            call.device = device.order
            if call.event.probe == _RESTORE:
                device.restores.append(call)
        elif ref is not None:
            self.early.setdefault(ref.address, []).append(call)

    def returned(self, call: Call) -> None:
        """A return may know more of the device than the entry did: its index. A device exists
        until unregister_virtio_device returns, because its driver's removal runs inside."""
        ref = call.ret.device if call.ret else None
        device = self.now.get(ref.address) if ref else None
        if device is not None:
            if call is device.register:
                device.ref = ref
            elif call is device.unregister:
                del self.now[device.address]
        if self.places and self.follower is not None:
            self.follower.returned(call)
        if call.parent is None:
            self.watch.drain()

    def end(self) -> None:
        """Add what is only known when all events have been seen."""
        self.drivers.end()
        trailer = self.graph.recording.trailer
        if trailer is not None and trailer.end_state is not None:
            self._final(trailer.end_state)
        self.graph.devices = list(self.kept.values())
        self.succession.end()
        self.graph.ended = True
        self.watch.end()

    def _final(self, final: EndState) -> None:
        """Add PCI devices that have no driver and no event."""
        for function in final.pci:
            device = self.last.get(function.address)
            if device is None and function.driver is None:
                device = self._device(function.address, "pci")
            if device is not None:
                device.function = function
        for shown in final.devices:
            device = self.last.get(shown.address)
            if device is not None and device.unregister is None:
                device.at_end = shown

    def _device(self, address: str, bus: str, snapshot: SysfsDevice | None = None) -> Device:
        before = self.last.get(address)
        generation = 0 if before is None else before.generation + 1
        device = Device(address, bus, generation, self.number, snapshot)
        self.number += 1
        self.kept[device.order] = self.now[address] = self.last[address] = device
        self.graph.buses[bus] += 1
        for call in self.early.pop(address, ()):
            call.device = device.order
            if call.event.probe == _RESTORE:
                device.restores.append(call)
        if before is not None:
            self.succession.came(device, before)
        return device

    def _at(self, call: Call) -> Device | None:
        """The device that CALL is about. It is created if no earlier event showed it."""
        ref = call.event.device
        if ref is None:
            return None
        device = self.now.get(ref.address)
        if device is None or self._is_next(device, call):
            device = self._device(ref.address, ref.bus)
        if ref.id is not None:
            device.ref = ref
        return device

    def _is_next(self, device: Device, call: Call) -> bool:
        """Whether CALL is about the next device at the address of DEVICE: how DEVICE went, and how
        the next one came, were lost."""
        gone, event = device.unregister, call.event
        if gone is None or not self.losses.gap_since(gone.event):
            return False
        status = (event.detail.status if event.detail else None) or 0
        return event.probe in _BRINGS_UP or bool(status & Status.DRIVER)

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
        if device is None or not _is_probed_in(device, call):
            device = self._device(ref.address, ref.bus)
        device.register, device.ref = call, ref
        self.graph.first_registration = self.graph.first_registration or call
        self.succession.registered(device)

    def _unregister_device(self, call: Call) -> None:
        device = self._at(call)
        if device is not None:
            device.unregister = call

    def _match(self, call: Call) -> None:
        self.drivers.used(call)
        device = self._at(call)
        if device is not None:
            device.matches.append(call)
            self.last_match[device.address, call.event.driver] = call

    def _bind(self, call: Call) -> None:
        self.drivers.used(call)
        device = self._at(call)
        if device is not None:
            driver = call.event.driver
            match = self.last_match.pop((device.address, driver), None)
            binding = Binding(device, driver, call, match)
            binding.negotiation.facts = self.drivers.facts(driver)
            self.graph.tries[device.address] += 1
            self.negotiations.begin(binding)
            device.bindings.append(binding)

    def _driver_probe(self, call: Call) -> None:
        device = self._at(call)
        if device is not None and device.bindings and device.bindings[-1].probe is None:
            device.bindings[-1].probe = call

    def _unbind(self, call: Call) -> None:
        device = self._at(call)
        if device is None:
            return
        device.removals.append(call)
        if device.bindings:
            device.bindings[-1].unbound = call
