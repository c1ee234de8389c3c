# SPDX-License-Identifier: GPL-2.0-or-later
"""A timeline as JSON in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

The format is documented in "Trace Event Format" (the Chromium project); Perfetto reads it in
src/trace_processor/importers/json. Because of that reader:

- B and E instead of X: the start and duration of an X are rounded separately, so an inner slice may
  end after its outer one.
- No displayTimeUnit: some versions take it for the unit of ``ts``.
- A tid names a track of the whole trace, not of its process.

The trace is written track by track, but the recording is in the order of time. So spans are sorted
by track, in a temporary file if there are many; the memory that is needed does not grow with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, count
from typing import Any, TextIO

from virtio_trace.graph.timeline import Lanes
from virtio_trace.render.escape import escape
from virtio_trace.render.slices import Slices
from virtio_trace.render.spans import Collected, collect
from virtio_trace.render.spool import Spool
from virtio_trace.report.summary import describe

__all__ = ["collect", "perfetto"]

_DEVICES, _THREADS, _RECORDING = 1, 2, 3
_PROCESSES = {
    _DEVICES: "VirtIO devices",
    _THREADS: "kernel code by thread",
    _RECORDING: "recording",
}
_string = json.encoder.encode_basestring_ascii
_FIRST_TRACK = 11
"""A track whose number is its process's would be the main thread."""


def perfetto(found: Collected, out: TextIO) -> None:
    """Write FOUND, one trace event a line.

    There is a track for each device with the calls about it, one for each thread with all its
    calls, and one for the recording. ``ts`` is in microseconds since boot, with three decimals.
    """
    trace = _Trace(found, out)
    out.write('{"traceEvents": [\n')
    trace.processes()
    trace.devices()
    trace.threads()
    trace.recording()
    header, recording = found.recording.header, describe(found.recording)
    other = {
        "clock": "CLOCK_MONOTONIC",
        "kernel": f"{header.release} {header.machine}",
        "events": str(recording["events"]),
        "lost": str(recording["lost"]),
        "complete": str(recording["complete"]).lower(),
    }
    out.write(f'\n], "otherData": {json.dumps(other)}}}')
    out.write("\n")


class _Trace:
    """Writes the events of FOUND to OUT, track by track."""

    def __init__(self, found: Collected, out: TextIO) -> None:
        self._found = found
        self._out = out
        self._comma = ""
        self._tracks = count(_FIRST_TRACK)
        self._slices = Slices(found)
        self._spans = iter(found.spans)
        self._next = next(self._spans, None)

    def _write(self, text: str) -> None:
        self._out.write(self._comma + text)
        self._comma = ",\n"

    def processes(self) -> None:
        """Name the processes."""
        for pid, process in _PROCESSES.items():
            self._write(_metadata("process_name", pid, pid, "name", process))
            self._write(_metadata("process_sort_index", pid, pid, "sort_index", pid))

    def devices(self) -> None:
        """Write the tracks of each device: one for each thread that called for it at one time."""
        found = self._found
        for order, device in found.devices():
            track = self._track(_DEVICES, device["track"])
            spans = self._of(order)
            first = next(spans, None)
            if device["snapshot"]:
                known = [found.began_ns, found.ended_ns]
                if first is not None:
                    known.append(first[1])
                args = {"driver": device["before"]}
                self._mark(_DEVICES, track, "there before the recording", min(known), args)
            if first is not None:
                rest = chain((first,), spans)
                self._lanes(track, _DEVICES, device["track"], rest, device["id"])
            if device["state"] != "removed":
                args = {"driver": device["driver"], "reason": device["reason"]}
                text = f"at the end: {device['state']}"
                self._mark(_DEVICES, track, text, found.ended_ns, args)

    def threads(self) -> None:
        """Write a track for each thread; more if calls overlap because their ends were lost."""
        for group, name in self._found.threads():
            track = self._track(_THREADS, name)
            self._lanes(track, _THREADS, name, self._of(group), None)

    def recording(self) -> None:
        """Write the track of the recording: its begin, lost events, and its end."""
        found, recording = self._found, self._found.recording
        track, lost = self._track(_RECORDING, "recording"), 0
        first = recording.first_ns
        began = found.began_ns if first is None else min(found.began_ns, first)
        self._mark(_RECORDING, track, "recording begins", began, {})
        for number, ns in found.gaps():
            lost += number
            self._mark(_RECORDING, track, "events lost", max(ns, began), {"lost": number})
        if recording.lost > lost:
            args = {"lost": recording.lost - lost}
            self._mark(_RECORDING, track, "events lost", found.ended_ns, args)
        trailer = recording.trailer
        how = f"recording ends: {trailer.ended}" if trailer else "recording was cut short"
        self._mark(_RECORDING, track, how, found.ended_ns, {})

    def _of(self, group: int) -> Iterator[tuple[Any, ...]]:
        """The spans of GROUP. Those of the groups before it must have been taken."""
        while self._next is not None and self._next[0] < group:  # a slot that was empty
            self._next = next(self._spans, None)
        while self._next is not None and self._next[0] == group:
            span, self._next = self._next, next(self._spans, None)
            yield span

    def _track(self, pid: int, name: str) -> int:
        tid = next(self._tracks)
        self._write(_metadata("thread_name", pid, tid, "name", escape(name)))
        self._write(_metadata("thread_sort_index", pid, tid, "sort_index", tid))
        return tid

    def _mark(self, pid: int, tid: int, name: str, ns: int, args: dict[str, Any]) -> None:
        """Write an instant event."""
        event = {"ph": "i", "pid": pid, "tid": tid, "ts": ns / 1000, "name": escape(name)}
        known = {
            name: escape(value) if isinstance(value, str) else value
            for name, value in args.items()
            if value is not None
        }
        event |= {"cat": "state", "s": "t"} | ({"args": known} if known else {})
        self._write(json.dumps(event, separators=(",", ":")))

    def _lanes(
        self, track: int, pid: int, name: str, spans: Iterator[tuple[Any, ...]], kind: int | None
    ) -> None:
        """Write SPANS: those of the first lane to TRACK, others to more tracks called NAME.

        KIND is a device type; it gives feature bits their names. What is on other lanes is kept
        until the first is written.
        """
        at = f'"pid":{pid},"tid":{track},'
        others: list[Spool] = []

        def end(lane: int, ns: int) -> None:
            if lane:
                others[lane - 1].add(len(others[lane - 1]), f'{{"ph":"E",\0"ts":{ns / 1000}}}')
            else:
                self._write(f'{{"ph":"E",{at}"ts":{ns / 1000}}}')

        lanes, text = Lanes(end), self._slices.text
        for span in spans:
            start, stop = span[1], -span[2]
            lane = lanes.place(start, stop, span[9])
            shown = text(span, "\0" if lane else at, kind)
            if not lane:
                self._write(shown)
            else:
                while len(others) < lane:
                    others.append(Spool())
                others[lane - 1].add(len(others[lane - 1]), shown)
            if start == stop and shown.startswith('{"ph":"B"'):
                end(lane, stop)
        lanes.end()
        for number, spool in enumerate(others, 2):
            at = f'"pid":{pid},"tid":{self._track(pid, f"{name} ({number})")},'
            for line in spool:
                self._write(line.replace("\0", at))


def _metadata(name: str, pid: int, tid: int, key: str, value: str | int) -> str:
    shown = value if isinstance(value, int) else _string(value)
    return f'{{"ph":"M","pid":{pid},"tid":{tid},"name":"{name}","args":{{"{key}":{shown}}}}}'
