# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as plain data: drivers, devices and bindings (``report --format json``).

Times are nanoseconds since boot (CLOCK_MONOTONIC). None is unknown.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from virtio_trace.check import empty_slots, host_rules
from virtio_trace.check.coverage import blind, is_complete
from virtio_trace.check.proof import Proof
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Binding, Device, Driver, Graph, transport
from virtio_trace.recording.events import Event
from virtio_trace.recording.host_view import HostDevice
from virtio_trace.recording.reader import Recording
from virtio_trace.report import boot_time
from virtio_trace.report.state import State, States, failure
from virtio_trace.virtio import features, numbers

SCHEMA = "virtio-trace/report/1"


def summarize(graph: Graph) -> dict[str, Any]:
    """The JSON of ``report`` for GRAPH; docs/formats.md lists its members."""
    graph, empty = empty_slots.set_aside(graph)
    recording = graph.recording
    header = recording.header
    proof = Proof(graph)
    states = States(proof)
    host = {id(device): _host(proof, device, known) for device, known in host_rules.pairs(proof)}
    return {
        "schema": SCHEMA,
        "kernel": {"release": header.release, "machine": header.machine},
        "recording": _recording(recording),
        "drivers": [_driver(graph, driver) for driver in graph.drivers.values()],
        "devices": [
            _device(device, states.of(device)) | {"host": host.get(id(device))}
            for device in graph.devices
        ],
        "bindings": [_binding(graph, binding) for binding in graph.bindings],
        "empty_slots": [device.address for device in empty],
        "boot": boot_time.boot(graph),
    }


def _recording(recording: Recording) -> dict[str, Any]:
    trailer = recording.trailer
    return {
        "events": len(recording.events),
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


def _device(device: Device, state: State) -> dict[str, Any]:
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
        "status": _status(device.status) if device.status else None,
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


def _binding(graph: Graph, binding: Binding) -> dict[str, Any]:
    call = binding.call
    function, symbol = _function(binding.probe)
    step, reason = failure(graph, binding)
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
        **_negotiation(binding),
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
