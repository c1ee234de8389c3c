# SPDX-License-Identifier: GPL-2.0-or-later
"""A timeline as JSON in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

The format is documented in "Trace Event Format" (the Chromium project); Perfetto reads it in
src/trace_processor/importers/json. Because of that reader:

- B and E instead of X: the start and duration of an X are rounded separately, so an inner slice may
  end after its outer one.
- No displayTimeUnit: some versions take it for the unit of ``ts``.
- A tid names a track of the whole trace, not of its process.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from virtio_trace.check import empty_slots
from virtio_trace.graph import timeline
from virtio_trace.graph.model import Device, Graph
from virtio_trace.graph.timeline import Span
from virtio_trace.render.escape import escape
from virtio_trace.render.slices import arguments, name
from virtio_trace.report.summary import summarize

_DEVICES, _THREADS, _RECORDING = 1, 2, 3
_PROCESSES = {
    _DEVICES: "VirtIO devices",
    _THREADS: "kernel code by thread",
    _RECORDING: "recording",
}
_MATCH = "virtio_dev_match"
_FIRST_TRACK = 10
"""A track whose number is its process's would be the main thread."""


def perfetto(graph: Graph, out: TextIO) -> None:
    """Write GRAPH, one trace event a line.

    There is a track for each device with the calls about it, one for each thread with all its
    calls, and one for the recording. ``ts`` is in microseconds since boot, with three decimals.
    """
    report = summarize(graph)
    graph, _ = empty_slots.set_aside(graph)
    trace = _Trace(graph)
    for device, summary in zip(graph.devices, report["devices"], strict=True):
        trace.device(device, summary)
    trace.threads()
    trace.recording()
    recording, kernel = report["recording"], report["kernel"]
    other = {
        "clock": "CLOCK_MONOTONIC",
        "kernel": f"{kernel['release']} {kernel['machine']}",
        "events": str(recording["events"]),
        "lost": str(recording["lost"]),
        "complete": str(recording["complete"]).lower(),
    }
    out.write('{"traceEvents": [\n')
    out.write(",\n".join(json.dumps(event, separators=(",", ":")) for event in trace.events))
    out.write(f'\n], "otherData": {json.dumps(other)}}}')
    out.write("\n")


class _Track:
    """One row of the user interface. ``events`` are those of the whole trace."""

    def __init__(self, events: list[dict[str, Any]], pid: int, tid: int, name: str) -> None:
        self._events = events
        self._at = {"pid": pid, "tid": tid}
        events.append(_metadata("thread_name", self._at, {"name": escape(name)}))
        events.append(_metadata("thread_sort_index", self._at, {"sort_index": tid}))

    def mark(self, name: str, ns: int, args: dict[str, Any], category: str = "state") -> None:
        """Add an instant event."""
        self._event("i", ns, {"name": escape(name), "cat": category, "s": "t"}, args)

    def lane(self, spans: list[Span], device: int | None) -> None:
        """Add the begins and ends of SPANS (timeline.lanes), and instants.

        DEVICE is a device type; it gives feature bits their names.
        """
        within: list[Span] = []
        for span in spans:
            self._end(within, span.start_ns)
            event, args = span.call.event, arguments(span, device)
            category = str(event.probe or event.kind)
            if _is_instant(span):
                self.mark(name(event), span.start_ns, args, category)
            else:
                named = {"name": escape(name(event)), "cat": category}
                self._event("B", span.start_ns, named, args)
                within.append(span)
        self._end(within, None)

    def _end(self, within: list[Span], now: int | None) -> None:
        """End the spans in WITHIN that are over at NOW, innermost first; None ends all."""
        while within and (now is None or within[-1].end_ns <= now):
            self._event("E", within.pop().end_ns, {}, {})

    def _event(self, phase: str, ns: int, named: dict[str, Any], args: dict[str, Any]) -> None:
        known = {
            name: escape(value) if isinstance(value, str) else value
            for name, value in args.items()
            if value is not None
        }
        event = {"ph": phase, **self._at, "ts": _micros(ns), **named}
        self._events.append({**event, "args": known} if known else event)


class _Trace:
    """Puts a recording on tracks. ``events`` are in the order in which they are written."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._end = timeline.ended_ns(graph.recording)
        self._tracks = 0
        self._of_thread: dict[int, list[Span]] = {}
        self._of_device: dict[int, list[Span]] = {}
        devices = timeline.Devices(graph)
        for span in timeline.spans(graph.recording):
            self._of_thread.setdefault(span.tid, []).append(span)
            device = devices.of(span.call)
            if device is not None:
                self._of_device.setdefault(id(device), []).append(_at_a_point(span))
        self.events: list[dict[str, Any]] = []
        for pid, process in _PROCESSES.items():
            at = {"pid": pid, "tid": pid}
            self.events.append(_metadata("process_name", at, {"name": process}))
            self.events.append(_metadata("process_sort_index", at, {"sort_index": pid}))

    def device(self, device: Device, summary: dict[str, Any]) -> None:
        """Add the tracks of DEVICE: one for each thread that called for it at the same time."""
        lanes = timeline.lanes(self._of_device.get(id(device), [])) or [[]]
        name = _device_name(device, summary)
        first = self._track(_DEVICES, name)
        if device.snapshot is not None:
            began = self._graph.recording.header.started_ns or 0
            began = min([began, self._end, *(span.start_ns for span in lanes[0][:1])])
            driver = device.snapshot.driver
            first.mark("there before the recording", began, {"driver": driver})
        self._lanes(first, _DEVICES, name, lanes, device.id)
        if summary["state"] != "removed":
            args = {"driver": summary["driver"], "reason": summary["reason"]}
            first.mark(f"at the end: {summary['state']}", self._end, args)

    def threads(self) -> None:
        """Add a track for each thread; more if calls overlap because their ends were lost."""
        for tid, spans in self._of_thread.items():
            name = f"{spans[0].call.event.comm}/{tid}"
            self._lanes(self._track(_THREADS, name), _THREADS, name, timeline.lanes(spans), None)

    def recording(self) -> None:
        """Add the track of the recording: its begin, lost events, and its end."""
        recording = self._graph.recording
        track = self._track(_RECORDING, "recording")
        now = min([recording.header.started_ns or 0, *(event.ns for event in recording.events[:1])])
        track.mark("recording begins", now, {})
        seq = 0
        for event in recording.events:
            now = max(now, event.ns)
            if event.seq != seq + 1:
                track.mark("events lost", now, {"lost": event.seq - seq - 1})
            seq = event.seq
        rest = recording.lost - (seq - len(recording.events))
        if rest > 0:
            track.mark("events lost", self._end, {"lost": rest})
        trailer = recording.trailer
        how = f"recording ends: {trailer.ended}" if trailer else "recording was cut short"
        track.mark(how, self._end, {})

    def _track(self, pid: int, name: str) -> _Track:
        self._tracks += 1
        return _Track(self.events, pid, _FIRST_TRACK + self._tracks, name)

    def _lanes(
        self, first: _Track, pid: int, name: str, lanes: list[list[Span]], device: int | None
    ) -> None:
        """Add LANES: the first to FIRST, others to more tracks called NAME."""
        for number, lane in enumerate(lanes, 1):
            track = first if number == 1 else self._track(pid, f"{name} ({number})")
            track.lane(lane, device)


def _metadata(name: str, at: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", **at, "name": name, "args": args}


def _micros(ns: int) -> float:
    """Exact to three decimals for the first 104 days (2**53 ns), and ordered after that."""
    return ns / 1000


def _at_a_point(span: Span) -> Span:
    """On a device's track a match is an instant."""
    if span.call.event.probe != _MATCH:
        return span
    return Span(span.call, span.start_ns, span.start_ns, span.open)


def _is_instant(span: Span) -> bool:
    return span.start_ns == span.end_ns and (span.is_hit or span.call.event.probe == _MATCH)


def _device_name(device: Device, summary: dict[str, Any]) -> str:
    """E.g. ``0000:00:02.0 net virtio0 virtio_net``; the driver is the last that was tried."""
    driver = summary["driver"] or (device.bindings[-1].driver if device.bindings else None)
    parts = [device.address, summary["type"], device.name, driver]
    if device.generation:
        parts.append(f"generation {device.generation}")
    return " ".join(part for part in parts if part)
