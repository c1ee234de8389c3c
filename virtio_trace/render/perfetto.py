# SPDX-License-Identifier: GPL-2.0-or-later
"""A timeline as JSON in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

The format is documented by its authors ("Trace Event Format", the Chromium project); what Perfetto
makes of it is src/trace_processor/importers/json. From there: B and E instead of X, whose start and
duration are rounded each on its own, so that an inner slice may end behind its outer one; no
displayTimeUnit, which some versions take for the unit of ``ts``; a tid is a track's in the whole
trace, not in its process.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

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
"""A track with its process's number would be its main thread."""


def perfetto(graph: Graph, out: TextIO) -> None:
    """Write GRAPH, one trace event a line.

    A track a device, with the calls that are about it; a track a thread, with all its calls; one
    for the recording itself. ``ts`` are microseconds since boot, with nanoseconds behind the point.
    """
    report = summarize(graph)
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
    """What the user interface shows in one row; ``events`` is the whole trace's."""

    def __init__(self, events: list[dict[str, Any]], pid: int, tid: int, name: str) -> None:
        self._events = events
        self._at = {"pid": pid, "tid": tid}
        events.append(_metadata("thread_name", self._at, {"name": escape(name)}))
        events.append(_metadata("thread_sort_index", self._at, {"sort_index": tid}))

    def mark(self, name: str, ns: int, args: dict[str, Any], category: str = "state") -> None:
        """A moment."""
        self._event("i", ns, {"name": escape(name), "cat": category, "s": "t"}, args)

    def lane(self, spans: list[Span], device: int | None) -> None:
        """SPANS (timeline.lanes) as they begin and end; DEVICE is a type, whose feature bits have
        names."""
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
        """End those of WITHIN that are over, innermost first."""
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
    """Puts a recording on tracks; ``events`` are in the order in which they are written."""

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
        """The tracks of DEVICE, which SUMMARY is of: one, or as many as threads were at it."""
        lanes = timeline.lanes(self._of_device.get(id(device), [])) or [[]]
        name = _device_name(device, summary)
        first = self._track(_DEVICES, name)
        if device.snapshot is not None:
            began = self._graph.recording.header.started_ns or 0
            began = min([began, self._end, *(span.start_ns for span in lanes[0][:1])])
            driver = device.snapshot.get("driver")
            first.mark("there before the recording", began, {"driver": driver})
        self._lanes(first, _DEVICES, name, lanes, device.id)
        if summary["state"] != "removed":
            said = {"driver": summary["driver"], "reason": summary["reason"]}
            first.mark(f"at the end: {summary['state']}", self._end, said)

    def threads(self) -> None:
        """A track a thread; more where calls overlap because their ends were lost."""
        for tid, spans in self._of_thread.items():
            name = f"{spans[0].call.event.comm}/{tid}"
            self._lanes(self._track(_THREADS, name), _THREADS, name, timeline.lanes(spans), None)

    def recording(self) -> None:
        """When it began, what was lost when, and how it ended."""
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
        """LANES on tracks of one NAME."""
        for number, lane in enumerate(lanes, 1):
            track = first if number == 1 else self._track(pid, f"{name} ({number})")
            track.lane(lane, device)


def _metadata(name: str, at: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", **at, "name": name, "args": args}


def _micros(ns: int) -> float:
    """Exact in its three decimals for the first 104 days (2**53 ns), in order for ever."""
    return ns / 1000


def _at_a_point(span: Span) -> Span:
    """To a device, a look at its ids is a moment."""
    if span.call.event.probe != _MATCH:
        return span
    return Span(span.call, span.start_ns, span.start_ns, span.open)


def _is_instant(span: Span) -> bool:
    return span.start_ns == span.end_ns and (span.is_hit or span.call.event.probe == _MATCH)


def _device_name(device: Device, summary: dict[str, Any]) -> str:
    """``0000:00:02.0 net virtio0 virtio_net``; the driver is the last that tried."""
    driver = summary["driver"] or (device.bindings[-1].driver if device.bindings else None)
    parts = [device.address, summary["type"], device.name, driver]
    if device.generation:
        parts.append(f"generation {device.generation}")
    return " ".join(part for part in parts if part)
