# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver, a device and a binding as the report has them (docs/formats.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from virtio_trace.check import host_rules, kernel_log
from virtio_trace.check.missing_features import missing
from virtio_trace.check.proof import Proof
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Binding, Device, Driver, Graph, transport
from virtio_trace.graph.negotiation import Queue
from virtio_trace.recording.events import Event
from virtio_trace.recording.host_view import HostDevice
from virtio_trace.recording.machine_state import LogLine
from virtio_trace.report.state import State, failure
from virtio_trace.virtio import features, numbers


def driver_of(graph: Graph, driver: Driver) -> dict[str, Any]:
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


def device_of(device: Device, state: State, brief: bool) -> dict[str, Any]:
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
        "carries": list(device.carries),
        "in_sysfs": _in_sysfs(device),
        "status": _status(device.status) if device.status and not brief else None,
        "registered_ns": device.register.started_ns if device.register else None,
        "removed_ns": device.unregister.started_ns if device.unregister else None,
    }


def _in_sysfs(device: Device) -> dict[str, Any] | None:
    """What sysfs showed last of the device: what was negotiated before the recording began is in
    no event."""
    shown = device.at_end or device.snapshot
    if shown is None:
        return None
    text, bound = shown.features or "", shown.driver is not None
    known = bound and text and not set(text) - {"0", "1"}
    return {
        "driver": shown.driver,
        "interrupts": shown.interrupts,
        "features": _names(device.id, int(text[::-1], 2)) if known else None,
    }


def log_of(graph: Graph, device: Device, lines: list[LogLine]) -> dict[str, Any] | None:
    """What the kernel's log says about DEVICE."""
    if not lines:
        return None
    return {
        "message": kernel_log.words(graph, device.address, lines),
        "lines": [{"ns": line.ns, "level": line.level, "text": line.text} for line in lines],
    }


def host_of(proof: Proof, device: Device, host: HostDevice) -> dict[str, Any]:
    """The device model's own view, and where the guest's view differs from it."""
    value = host.status_value
    bits, strange = host.features()
    return {
        "path": host.path,
        "status": None if value is None else {"value": value, "names": numbers.status_names(value)},
        "features": [*(_names(host.id, bits) or ()), *strange] if host.guest_features else None,
        "queues": [
            {"index": index, "size": size, "completions": host.completed.get(index)}
            for index, size in host.sizes.items()
        ],
        "differs": [
            {"step": compared.step, "message": compared.message}
            for compared in host_rules.compare(proof, device, host)
            if not compared.ok
        ],
    }


def with_counts(binding: dict[str, Any], device: Device, host: dict[str, Any] | None) -> None:
    """Add to the virtqueues of BINDING, of DEVICE at the end of the recording, how many interrupts
    there were and what was completed, as sysfs and HOST show it; None is unknown."""
    counts = (device.at_end.interrupts if device.at_end else None) or {}
    done = {queue["index"]: queue["completions"] for queue in (host or {}).get("queues", ())}
    for queue in binding["queues"] or ():
        own = queue["vector"] is not None
        queue["interrupts"] = counts.get(queue["name"]) if own else None
        queue["completions"] = done.get(queue["index"])


def binding_of(graph: Graph, binding: Binding, complete: bool, brief: bool) -> dict[str, Any]:
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
        **_negotiation(binding, brief),
    }


def _negotiation(binding: Binding, brief: bool) -> dict[str, Any]:
    found = binding.negotiation
    device = binding.device.id
    queues = found.queues()
    failed = binding.call.result not in (0, None)
    known = {
        "features": {
            "offered": _names(device, found.offered),
            "driver": _names(device, found.wanted),
            "negotiated": _names(device, found.negotiated),
            "written": _names(device, found.written),
            "missing": [
                {"name": features.name(device, one.bit), "why": one.why} for one in missing(binding)
            ]
            if failed
            else [],
        },
        "interrupts": found.interrupts,
        "queues": None if queues is None else [_queue(queue) for queue in queues],
    }
    if brief:
        return known
    status = _status(found.status) if found.status else None
    return known | {"status": status, "phases": _phases(binding)}


def _queue(queue: Queue) -> dict[str, Any]:
    """Not by asdict(), which copies each value: there is one for each queue of each binding."""
    return {
        "index": queue.index,
        "name": queue.name,
        "size": queue.size,
        "vector": queue.vector,
        "interrupts": None,
        "completions": None,
    }


def _names(device: int | None, bits: int | None) -> list[str] | None:
    return None if bits is None else list(_cached_names(device, bits))


@lru_cache(4096)
def _cached_names(device: int | None, bits: int) -> tuple[str, ...]:
    return tuple(features.names(device, numbers.bits(bits)))


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
