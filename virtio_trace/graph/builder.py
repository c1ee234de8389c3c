# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph rebuilt from a recording's events: calls nested by thread, then devices and drivers."""

from __future__ import annotations

import re
from collections.abc import Callable

from virtio_trace.graph.builder_drivers import DriversBuilder
from virtio_trace.graph.builder_negotiation import NegotiationBuilder
from virtio_trace.graph.calls import Call, nest
from virtio_trace.graph.integrity import examine
from virtio_trace.graph.losses import Losses
from virtio_trace.graph.model import Binding, Device, Graph
from virtio_trace.recording import events as ev
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.recording.machine_state import EndState
from virtio_trace.recording.reader import Recording
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


def build(recording: Recording) -> Graph:
    """Rebuild the graph. Never fails on a recording that could be read."""
    graph = Graph(recording)
    builder = _Builder(graph)
    for event, call in nest(recording.events):
        if call is None:
            graph.modules[str(event.module)] = event
        elif event.kind == ev.HIT:
            builder.negotiations.hit(call)
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
    """The drivers and devices in the snapshot whose registration was recorded nevertheless: at
    boot, or between arming and the snapshot."""
    until = recording.header.snapshot_ns
    found = set()
    for event in recording.events if until is not None else ():
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

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.drivers = DriversBuilder(graph)
        self.negotiations = NegotiationBuilder(self._at)
        self.losses = Losses(graph.recording)
        self.now: dict[str, Device] = {}
        self.generations: dict[str, int] = {}
        self.last_match: dict[tuple[str, str | None], Call] = {}
        snapshot = graph.recording.header.snapshot
        begun = _begun(graph.recording)
        for known in snapshot.drivers:
            if ("driver", known.name) not in begun:
                driver = self.drivers.add(known.name)
                driver.in_snapshot = True
                driver.snapshot_module = known.module
        for device in snapshot.devices:
            if ("device", device.address) not in begun:
                self._device(device.address, device.bus or "unknown", device)
        self._entered: dict[str, Callable[[Call], None]] = {
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

    def entered(self, call: Call) -> None:
        handler = self._entered.get(str(call.event.probe))
        if handler is not None:
            handler(call)
        device = self._at(call) if call.event.probe in _INIT_CALLS else None
        if device is not None and call.entry is not None:
            device.init_calls.append(call)

    def returned(self, call: Call) -> None:
        """A return may know more of the device than the entry did: its index. A device exists
        until unregister_virtio_device returns, because its driver's removal runs inside."""
        ref = call.ret.device if call.ret else None
        device = self.now.get(ref.address) if ref else None
        if device is None:
            return
        if call is device.register:
            device.ref = ref
        elif call is device.unregister:
            del self.now[device.address]

    def end(self) -> None:
        """Add what is only known when all events have been seen."""
        self.drivers.end()
        trailer = self.graph.recording.trailer
        if trailer is not None and trailer.end_state is not None:
            self._final(trailer.end_state)
        if trailer is not None and trailer.log is not None:
            for line in trailer.log.lines:
                for word in set(_WORD.findall(f"{line.text} {line.device or ''}")):
                    self.graph.log.setdefault(word, []).append(line)
        self.graph.integrity = examine(self.graph.recording, self.graph.calls)

    def _final(self, final: EndState) -> None:
        """Add PCI devices that have no driver and no event."""
        latest = {device.address: device for device in self.graph.devices}
        for function in final.pci:
            device = latest.get(function.address)
            if device is None and function.driver is None:
                device = self._device(function.address, "pci")
            if device is not None:
                device.function = function

    def _device(self, address: str, bus: str, snapshot: SysfsDevice | None = None) -> Device:
        generation = self.generations.get(address, 0)
        self.generations[address] = generation + 1
        device = Device(address, bus, generation, snapshot)
        self.graph.devices.append(device)
        self.now[address] = device
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
        if gone is None or not self.losses.between(gone.event, event):
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
