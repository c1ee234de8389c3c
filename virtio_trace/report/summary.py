# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as plain data: drivers, devices and bindings (``report --format json``).

Times are nanoseconds since boot (CLOCK_MONOTONIC). None is unknown.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

from virtio_trace.check import empty_slots, host_rules
from virtio_trace.check.coverage import blind, is_complete
from virtio_trace.check.host_rules import pairs
from virtio_trace.check.proof import Proof
from virtio_trace.check.scope import scope_of
from virtio_trace.graph import builder
from virtio_trace.graph.calls import Call
from virtio_trace.graph.follower import Follower
from virtio_trace.graph.model import Binding, Device, Driver, Graph, NotYetError, transport
from virtio_trace.recording.events import Event
from virtio_trace.recording.host_view import HostDevice
from virtio_trace.recording.source import Source
from virtio_trace.report import boot_time
from virtio_trace.report.state import State, at_end, failure, replaced
from virtio_trace.virtio import features, numbers

SCHEMA = "virtio-trace/report/1"


Host = dict[str, Any] | None
"""The host's view of a device, as the report has it."""


class Sink(Protocol):
    """Takes the devices and bindings of a report, in any order.

    ``brief``: it needs no ``status`` of devices, and of bindings nothing about the negotiation.
    """

    brief: bool

    def device(self, order: int, device: dict[str, Any]) -> None:
        """Take DEVICE; they are shown by ORDER."""

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        """Take BINDING; they are shown by ORDER."""


class Reporter(Follower):
    """Reports the devices of a recording, each as soon as another one comes at its address.
    COMPLETE: whether the recording is."""

    def __init__(self, complete: bool) -> None:
        self.complete = complete

    def begin(self, graph: Graph) -> None:
        """The events of GRAPH are about to be read."""
        self.graph = graph
        self.scope = scope_of(graph.recording)
        self.empty = empty_slots.EmptySlots(graph)

    @abstractmethod
    def take(self, device: Device, state: State, host: Host) -> None:
        """Report DEVICE; HOST is None except for the last device at an address. Raises NotYetError
        if that needs what comes later."""

    def device(self, device: Device) -> bool:
        """Report DEVICE, unless that needs what comes later."""
        if self.empty.take(device):
            return True
        if device.is_open:
            return False
        try:
            self.take(device, replaced(device), None)
        except NotYetError:
            return False
        return True

    def driver(self, driver: Driver) -> bool:
        """A report has the last registration of each driver only."""
        return True

    def end(self) -> None:
        """Report the other devices."""
        self.empty.end()
        latest, proof = self.graph.latest, Proof(self.graph)
        hosts = {id(device): _host(proof, device, known) for device, known in pairs(proof)}
        for device in self.graph.devices:
            is_last = latest[device.address] is device
            state = at_end(proof, device, self.complete) if is_last else replaced(device)
            self.take(device, state, hosts.get(id(device)))


_R = TypeVar("_R", bound=Reporter)
_S = TypeVar("_S", bound=Sink)


def follow(recording: Source, reporter: Callable[[bool], _R]) -> _R:
    """What REPORTER, called with whether RECORDING is complete, makes, after it has followed the
    recording. Raises BadInputError.

    It is assumed to be complete if its trailer says so. If it was not, a second reading begins,
    with a new reporter.
    """
    complete = is_complete(recording)
    while True:
        made = reporter(complete)
        builder.build(recording, made)
        if is_complete(recording) == complete:
            made.end()
            return made
        complete = not complete


def stream(recording: Source, sink: Callable[[], _S]) -> tuple[dict[str, Any], _S]:
    """The report of RECORDING, in which ``devices`` and ``bindings`` are empty, and what SINK
    makes, which has them. Raises BadInputError."""
    made = follow(recording, lambda complete: _SinkReporter(complete, sink()))
    return made.report(), made.sink


def summarize(graph: Graph) -> dict[str, Any]:
    """The report of the recording of GRAPH; see :func:`summary`."""
    return summary(graph.recording)


def summary(recording: Source) -> dict[str, Any]:
    """The JSON of ``report``; docs/formats.md lists its members. Raises BadInputError."""
    report, kept = stream(recording, _Kept)
    report["devices"] = [device for _, device in sorted(kept.devices, key=itemgetter(0))]
    report["bindings"] = [binding for _, binding in sorted(kept.bindings, key=itemgetter(0))]
    return report


class _Kept:
    """Keeps everything."""

    brief = False

    def __init__(self) -> None:
        self.devices: list[tuple[int, dict[str, Any]]] = []
        self.bindings: list[tuple[int, dict[str, Any]]] = []

    def device(self, order: int, device: dict[str, Any]) -> None:
        self.devices.append((order, device))

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        self.bindings.append((order, binding))


class _SinkReporter(Reporter, Generic[_S]):
    """Reports to SINK."""

    places = True

    def __init__(self, complete: bool, sink: _S) -> None:
        super().__init__(complete)
        self.sink = sink
        self._boot = boot_time.BootTime()
        self.returned = self._boot.call  # type: ignore[method-assign] # one call less for each call

    def take(self, device: Device, state: State, host: Host) -> None:
        """Report DEVICE and its bindings, if they are asked for."""
        if not self.scope.has(device.address):
            return
        brief = self.sink.brief
        shown = [
            (binding.call.event.seq, _binding(self.graph, binding, self.complete, brief))
            for binding in device.bindings
        ]
        known = _device(device, state, brief)
        self.sink.device(device.order, known | {"host": host})
        for order, binding in shown:
            self.sink.binding(order, binding)
        self._boot.device(device)

    def report(self) -> dict[str, Any]:
        """The report without devices and bindings."""
        graph, recording = self.graph, self.graph.recording
        return {
            "schema": SCHEMA,
            "kernel": {"release": recording.header.release, "machine": recording.header.machine},
            "recording": describe(recording),
            "drivers": [
                _driver(graph, driver)
                for driver in graph.drivers.values()
                if self.scope.has(driver.name)
            ],
            "devices": [],
            "bindings": [],
            "empty_slots": [
                device.address for device in self.empty.found if self.scope.has(device.address)
            ],
            "boot": self._boot.result(graph),
            **self.scope.to_json(),
        }


def describe(recording: Source) -> dict[str, Any]:
    """The report's ``recording``."""
    trailer = recording.trailer
    return {
        "events": recording.count,
        "lost": recording.lost,
        "complete": is_complete(recording),
        "started_ns": recording.header.started_ns,
        "ended": trailer.ended if trailer else None,
        "unseen": [
            {
                "probe": probe.probe,
                "function": probe.function,
                "module": probe.module,
                "reason": probe.reason,
                "without": probe.without,
                "missed": probe.missed,
            }
            for probe in blind(recording)
        ],
    }


def _driver(graph: Graph, driver: Driver) -> dict[str, Any]:
    facts, call = driver.facts, driver.register
    module = facts.module or None if facts else driver.snapshot_module
    evidence = graph.recording.header.evidence
    builtin = module in evidence.builtin or (facts is not None and facts.builtin)
    result = call.result if call else None
    return {
        "name": driver.name,
        "module": module,
        # a module with neither a file nor a line in modules.builtin is unknown
        "builtin": True if builtin else False if facts else None,
        "snapshot": driver.in_snapshot,
        "registered_ns": call.started_ns if call else None,
        "unregistered_ns": driver.unregister.started_ns if driver.unregister else None,
        "result": result,
        "errno": numbers.errno_name(result),
        "init": facts.init if facts else None,
        "probe": facts.functions.get("probe") if facts else None,
        "matches": list(facts.matches) if facts else [],
        "aliases": list(facts.aliases) if facts else [],
    }


def _device(device: Device, state: State, brief: bool) -> dict[str, Any]:
    vendor = device.vendor
    return {
        "name": device.name,
        "address": device.address,
        "generation": device.generation,
        "bus": device.bus,
        "transport": transport(device),
        "id": device.id,
        "type": numbers.device_type(device.id),
        "vendor": None if vendor is None else f"0x{vendor:04x}",
        "state": state.state,
        "driver": state.driver,
        "reason": state.reason,
        "snapshot": device.snapshot is not None,
        "status": _status(device.status) if device.status and not brief else None,
        "registered_ns": device.register.started_ns if device.register else None,
        "removed_ns": device.unregister.started_ns if device.unregister else None,
    }


def _host(proof: Proof, device: Device, host: HostDevice) -> dict[str, Any]:
    """The device model's own view, and where the guest's view differs from it."""
    value = host.status_value
    bits, strange = host.features()
    return {
        "path": host.path,
        "status": None if value is None else {"value": value, "names": numbers.status_names(value)},
        "features": [*(_names(host.id, bits) or ()), *strange] if host.guest_features else None,
        "queues": [{"index": index, "size": size} for index, size in host.sizes.items()],
        "differs": [
            {"step": compared.step, "message": compared.message}
            for compared in host_rules.compare(proof, device, host)
            if not compared.ok
        ],
    }


def _binding(graph: Graph, binding: Binding, complete: bool, brief: bool) -> dict[str, Any]:
    call = binding.call
    function, symbol = _function(binding.probe)
    step, reason = failure(graph, binding, complete)
    return {
        "device": binding.device.address,
        "generation": binding.device.generation,
        "name": binding.device.name,
        "driver": binding.driver,
        "function": function,
        "symbol": symbol,
        "result": call.result,
        "errno": numbers.errno_name(call.result),
        "step": step,
        "reason": reason,
        "started_ns": call.started_ns,
        "duration_ns": call.duration_ns,
        "unbound_ns": binding.unbound.started_ns if binding.unbound else None,
        **({} if brief else _negotiation(binding)),
    }


def _negotiation(binding: Binding) -> dict[str, Any]:
    found = binding.negotiation
    device = binding.device.id
    queues = found.queues()
    return {
        "features": {
            "offered": _names(device, found.offered),
            "driver": _names(device, found.wanted),
            "negotiated": _names(device, found.negotiated),
        },
        "status": _status(found.status) if found.status else None,
        "interrupts": found.interrupts,
        "queues": None if queues is None else [asdict(queue) for queue in queues],
        "phases": _phases(binding),
    }


def _names(device: int | None, bits: int | None) -> list[str] | None:
    if bits is None:
        return None
    return features.names(device, numbers.bits(bits))


def _status(events: list[Event]) -> list[dict[str, Any]]:
    return [
        {"ns": event.ns, "value": status, "names": numbers.status_names(status)}
        for event in events
        if event.detail is not None and (status := event.detail.status) is not None
    ]


def _phases(binding: Binding) -> list[dict[str, Any]] | None:
    """How long each phase of BINDING took, in nanoseconds; None if nothing is known."""
    found, call, probe = binding.negotiation, binding.call, binding.probe
    phases: list[tuple[str, int | None]] = []
    if call.entry is not None and probe is not None and probe.entry is not None:
        phases.append(("negotiation", probe.entry.ns - call.entry.ns))
    if found.validate is not None:
        phases.append(("validate", found.validate.duration_ns))
    if found.find_vqs:
        known = [item.duration_ns for item in found.find_vqs]
        phases.append(("find_vqs", None if None in known else sum(filter(None, known))))
    if probe is not None:
        phases.append(("driver_probe", probe.duration_ns))
    return [{"name": name, "duration_ns": ns} for name, ns in phases] or None


def _function(probe: Call | None) -> tuple[str | None, str | None]:
    """The driver's probe function as its probe point recorded it, never as the .ko names it."""
    if probe is None or probe.event.function is None:
        return None, None
    return probe.event.function, probe.event.symbol
