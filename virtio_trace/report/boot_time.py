# SPDX-License-Identifier: GPL-2.0-or-later
"""The share of the boot time that was spent on the VirtIO path, up to the last device's binding.

Boot is 0 of CLOCK_MONOTONIC (kernel/time/timekeeping.c: timekeeping_init); firmware, boot loader
and decompression of the kernel come before it. The VirtIO path is the transport's probe, the
registration of devices, the bus's probe with the driver's probe inside it, and the registration of
drivers and of the bus. Time in nested or concurrent calls is counted once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from virtio_trace.check.coverage import is_complete
from virtio_trace.graph import timeline
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device, Graph
from virtio_trace.graph.timeline import Span
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.virtio.numbers import EPROBE_DEFER
from virtio_trace.virtio.transports import PROBES

PHASES = ("transport_probe", "register", "negotiation", "driver_probe", "find_vqs")
"""Each phase runs inside the previous one, whose own time does not include it."""

_PHASE_OF = {
    **dict.fromkeys(PROBES, 0),
    "register_virtio_device": 1,
    "virtio_dev_probe": 2,
    "driver_probe": 3,
    "find_vqs": 4,
}
_DRIVERS = ("bus_register", "register_virtio_driver")

Interval = tuple[int, int]


def boot(graph: Graph) -> dict[str, Any] | None:
    """The report's ``boot``; docs/formats.md lists its members. None if no device came up in the
    recording."""
    end = timeline.ended_ns(graph.recording)
    last = max(
        (timeline.span(call, end) for call in _came_up(graph.devices)),
        key=lambda span: span.end_ns,
        default=None,
    )
    if last is None or not last.end_ns:
        return None
    until = last.end_ns
    owners = timeline.Devices(graph)
    spans = [timeline.span(call, end) for call in graph.calls]
    spans = [span for span in spans if span.start_ns < until]
    of_device: dict[int, list[tuple[int, Interval]]] = {}
    drivers: list[Interval] = []
    for span in spans:
        probe, device = str(span.call.event.probe), owners.of(span.call)
        interval = (span.start_ns, min(span.end_ns, until))
        if probe in _DRIVERS:
            drivers.append(interval)
        elif probe in _PHASE_OF and device is not None:
            of_device.setdefault(id(device), []).append((_PHASE_OF[probe], interval))
    every = [interval for found in of_device.values() for _, interval in found]
    devices = _union(every)
    total = _union([*every, *drivers])
    return {
        "recorded_from_ns": _recorded_from(graph),
        "until_ns": until,
        "until": _until(last),
        "virtio_ns": total,
        "percent": _percent(total, until),
        "drivers_ns": total - devices,
        "devices": [
            _device(device, of_device[id(device)], until)
            for device in graph.devices
            if id(device) in of_device
        ],
        "notes": _notes(graph, spans),
    }


def _came_up(devices: Iterable[Device]) -> Iterable[Call]:
    """For each address, the call that brought the device up: the first binding that succeeded,
    otherwise the first that was not deferred, otherwise the last one, otherwise the transport's
    probe or the registration. Later bindings are not part of boot."""
    by_address: dict[str, list[Device]] = {}
    for device in devices:
        by_address.setdefault(device.address, []).append(device)
    for there in by_address.values():
        first = there[0]
        if first.snapshot is not None and first.snapshot.driver:
            continue
        calls = [binding.call for device in there for binding in device.bindings]
        well = [call for call in calls if call.result == 0]
        tried = [call for call in calls if call.result != -EPROBE_DEFER]
        call = next(iter([*well, *tried, *calls[-1:]]), first.transport or first.register)
        if call is not None:
            yield call


def _device(device: Device, found: list[tuple[int, Interval]], until: int) -> dict[str, Any]:
    own = _own(found)
    total = sum(own)
    return {
        "device": device.address,
        "generation": device.generation,
        "name": device.name,
        "virtio_ns": total,
        "percent": _percent(total, until),
        "phases": [
            {"name": name, "own_ns": ns} for name, ns in zip(PHASES, own, strict=True) if ns
        ],
    }


def _own(found: list[tuple[int, Interval]]) -> list[int]:
    """For each of PHASES, the nanoseconds in which no inner phase ran: what the phase adds to the
    union, starting with the innermost."""
    own = [0] * len(PHASES)
    covered: list[Interval] = []
    before = 0
    for phase in reversed(range(len(PHASES))):
        covered += [interval for number, interval in found if number == phase]
        now = _union(covered)
        own[phase], before = now - before, now
    return own


def _union(intervals: Iterable[Interval]) -> int:
    """The nanoseconds that at least one of INTERVALS covers."""
    total, covered = 0, 0
    for start, end in sorted(intervals):
        if end > covered:
            total += end - max(start, covered)
            covered = end
    return total


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3)


def _until(last: Span) -> dict[str, Any]:
    event = last.call.event
    ret = last.call.ret or event
    return {
        "device": event.device.address if event.device else None,
        "driver": event.driver,
        "function": event.function,
        "event": ret.seq,
    }


def _recorded_from(graph: Graph) -> int | None:
    """When the recording began. The first event may be earlier than ``started_ns``."""
    started = graph.recording.header.started_ns
    first = graph.recording.events[0].ns
    return None if started is None else min(started, first)


def _notes(graph: Graph, spans: list[Span]) -> list[str]:
    """Sentences on what the figures do not include."""
    notes = []
    if any(state.state == ARMED for state in graph.recording.header.boot_probes):
        notes.append(
            "what ran before the kernel arms events is not counted: the bus's registration"
        )
    elif graph.bus_register is None and graph.recording.header.snapshot.bus:
        notes.append("what the virtio path took before the recording began is unknown")
    else:
        notes.append("there was no VirtIO bus before the recording began")
    if not is_complete(graph.recording):
        notes.append("the recording is not complete: what was lost is not counted")
    cut = sum(span.open for span in spans if span.call.event.probe in (*_PHASE_OF, *_DRIVERS))
    if cut:
        notes.append(f"calls without a return, counted as long as they can have run: {cut}")
    return notes
