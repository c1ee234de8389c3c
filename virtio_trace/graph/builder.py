# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph rebuilt from a recording's events: calls nested by thread, then devices and drivers."""

from __future__ import annotations

import re
from collections.abc import Callable

from virtio_trace.graph.calls import Call, nest
from virtio_trace.graph.integrity import examine
from virtio_trace.graph.model import Binding, Device, Driver, Graph
from virtio_trace.graph.negotiation import Negotiation
from virtio_trace.recording import events as ev
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.recording.events import Event
from virtio_trace.recording.machine_state import EndState
from virtio_trace.recording.reader import Recording
from virtio_trace.virtio.transports import PROBES

_WORD = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|[0-9a-f]+\.\w+|\w+")
"""A PCI address, a platform device's, or any other word."""

_INIT_CALLS = {"virtio_dev_probe", "virtio_features_ok", "find_vqs", "setup_vq"}
"""The calls in a device's trail; status and get_features are hits."""


_WRITES = {"set_status", "reset"}
_SHOWING = _WRITES | {"get_features"}
"""The hits that are steps, whether or not what they show could be fetched."""


def build(recording: Recording) -> Graph:
    """Rebuild the graph. Never fails on a recording that could be read."""
    graph = Graph(recording)
    builder = _Builder(graph)
    for event, call in nest(recording.events):
        if call is None:
            graph.modules[str(event.module)] = event
        elif event.kind == ev.HIT:
            builder.hit(event, call)
        elif call.ret is None or call.entry is None:
            graph.calls.append(call)
            builder.entered(call)
            if call.ret is not None:
                builder.returned(call)
        else:
            builder.returned(call)
    builder.end()
    return graph


def _begun(recording: Recording) -> set[tuple[str, str]]:
    """Of what is in the snapshot, that whose beginning was recorded all the same: at boot, or
    between arming and the snapshot."""
    until = recording.header.snapshot_ns
    found = set()
    for event in recording.events if until is not None else ():
        if event.ns > (until or 0):
            break
        if event.probe == "register_virtio_driver" and event.driver:
            found.add(("driver", event.driver))
        elif event.probe == "register_virtio_device" and event.device:
            found.add(("device", event.device.address))
    return found


class _Builder:
    """Takes calls as they are entered and as they return; keeps the devices that are there now."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.evidence = graph.recording.header.evidence
        self.now: dict[str, Device] = {}
        self.generations: dict[str, int] = {}
        self.early: dict[str, Call] = {}
        self.tables: dict[str, Event] = {}
        self.last_match: dict[tuple[str, str | None], Call] = {}
        snapshot = graph.recording.header.snapshot
        begun = _begun(graph.recording)
        for known in snapshot.drivers:
            if ("driver", known.name) not in begun:
                driver = self._driver(known.name)
                driver.in_snapshot = True
                driver.snapshot_module = known.module
        for device in snapshot.devices:
            if ("device", device.address) not in begun:
                self._device(device.address, device.bus or "unknown", device)
        self._entered: dict[str, Callable[[Call], None]] = {
            "bus_register": self._bus_register,
            "register_virtio_driver": self._register_driver,
            "unregister_virtio_driver": self._unregister_driver,
            **dict.fromkeys(PROBES, self._transport),
            "virtio_pci_modern_probe": self._modern,
            "virtio_pci_legacy_probe": self._legacy,
            "register_virtio_device": self._register_device,
            "unregister_virtio_device": self._unregister_device,
            "virtio_dev_match": self._match,
            "virtio_dev_probe": self._bind,
            "virtio_dev_remove": self._unbind,
            "driver_probe": self._driver_probe,
            "driver_validate": self._validate,
            "virtio_features_ok": self._features_ok,
            "find_vqs": self._find_vqs,
            "find_vqs_msix": self._msix,
            "setup_vq": self._setup_vq,
            "do_init_module": self._init_module,
        }

    def entered(self, call: Call) -> None:
        handler = self._entered.get(str(call.event.probe))
        if handler is not None:
            handler(call)
        device = self._at(call) if call.event.probe in _INIT_CALLS else None
        if device is not None and call.entry is not None:
            device.init_calls.append(call)

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

    def _device(self, address: str, bus: str, snapshot: SysfsDevice | None = None) -> Device:
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
            binding = Binding(device, driver, call, match)
            binding.negotiation.tables = self.tables.pop(device.address, None)
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

    # -- the negotiation

    def hit(self, event: Event, call: Call) -> None:
        """Status and features: of the device, and of the binding in which they are negotiated."""
        if event.probe == "vring_create_virtqueue":
            self._created(call)
            return
        device = self._at(call)
        if device is None or (event.detail is None and event.probe not in _SHOWING):
            return
        if event.probe == "driver_features":
            self._tables(event, call, device)
            return
        device.init_calls.append(call)
        found = self._negotiation(call)
        if event.probe in _WRITES or (event.detail and event.detail.status is not None):
            device.status.append(event)
            if found is not None:
                found.status.append(event)
        elif found is not None and event.probe == "get_features":
            found.offered_by = event

    def _tables(self, event: Event, call: Call, device: Device) -> None:
        """An event of its own at virtio_dev_probe: the kernel may take it before that one's or
        behind it."""
        last = device.bindings[-1] if device.bindings else None
        if last is not None and call.parent is last.call:
            last.negotiation.tables = event
        else:
            self.tables[device.address] = event

    def _negotiation(self, call: Call) -> Negotiation | None:
        """That of the binding that CALL is inside of."""
        device = self._at(call)
        binding = device.bindings[-1] if device is not None and device.bindings else None
        if binding is None or not call.inside(binding.call):
            return None
        return binding.negotiation

    def _validate(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.validate = call

    def _features_ok(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.features_ok = call

    def _find_vqs(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.find_vqs.append(call)

    def _msix(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.msix.append(call)

    def _setup_vq(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.setups.append(call)

    def _created(self, call: Call) -> None:
        """A virtqueue, where the transport's own function does not show it (it is inlined)."""
        around = call.parent
        while around is not None and around.event.probe not in ("setup_vq", "find_vqs"):
            around = around.parent
        device = self._at(around) if around is not None else None
        if around is None or device is None or around.event.probe == "setup_vq":
            return
        device.init_calls.append(call)
        found = self._negotiation(around)
        if found is not None:
            found.setups.append(call)

    # -- bus and drivers

    def _init_module(self, call: Call) -> None:
        detail = call.event.detail
        if detail is not None and detail.name is not None:
            self.graph.inits[detail.name] = call

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
        for binding in self.graph.bindings:
            known = self.graph.drivers.get(binding.driver or "")
            binding.negotiation.facts = known.facts if known else None
        trailer = self.graph.recording.trailer
        if trailer is not None and trailer.end_state is not None:
            self._final(trailer.end_state)
        if trailer is not None and trailer.log is not None:
            for line in trailer.log.lines:
                for word in set(_WORD.findall(f"{line.text} {line.device or ''}")):
                    self.graph.log.setdefault(word, []).append(line)
        self.graph.integrity = examine(self.graph.recording, self.graph.calls)

    def _final(self, final: EndState) -> None:
        """PCI devices without a driver that no event is about are devices too."""
        latest = {device.address: device for device in self.graph.devices}
        for function in final.pci:
            device = latest.get(function.address)
            if device is None and function.driver is None:
                device = self._device(function.address, "pci")
            if device is not None:
                device.function = function

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
