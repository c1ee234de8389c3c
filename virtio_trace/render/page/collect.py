# SPDX-License-Identifier: GPL-2.0-or-later
"""What a page shows of a recording, read in three passes: the verdict, the report, the events.

A pass reads event by event. What is kept is limited, however long the recording is: the last device
at each address, the last bindings, spans and status writes of each, and some rows of events.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from virtio_trace.check import verdict
from virtio_trace.check.findings import ERROR, Result
from virtio_trace.check.scope import scope_of
from virtio_trace.graph.calls import Call, nest
from virtio_trace.graph.timeline import span
from virtio_trace.recording.events import RETURN, Event
from virtio_trace.recording.source import Source
from virtio_trace.render.page.rows import Rows
from virtio_trace.report.summary import stream
from virtio_trace.virtio.transports import PROBES

TRANSPORT, REGISTER, BIND, PROBE = "transport", "register", "bind", "probe"
_SPANS = {
    **dict.fromkeys(PROBES, TRANSPORT),
    "register_virtio_device": REGISTER,
    "virtio_dev_probe": BIND,
    "driver_probe": PROBE,
}
_MOST_BINDINGS, _MOST_SPANS, _MOST_WRITES = 4, 32, 24
_NAMED = 2000
"""Events that findings name, whose rows are kept wherever they are."""


@dataclass(slots=True)
class Write:
    """A status write: event, time in ns of CLOCK_MONOTONIC, status."""

    seq: int
    ns: int
    status: int


@dataclass(slots=True)
class Stretch:
    """A call about a device on the time axis; ``is_open``: its return was not seen."""

    kind: str
    start_ns: int
    end_ns: int
    result: int | None
    is_open: bool = False


@dataclass(slots=True)
class Track:
    """What the events of an address show."""

    stretches: deque[Stretch] = field(default_factory=lambda: deque(maxlen=_MOST_SPANS))
    writes: deque[Write] = field(default_factory=lambda: deque(maxlen=_MOST_WRITES))


@dataclass(slots=True)
class Place:
    """The last device at an address, as the report has it, with its last bindings. ``earlier``
    counts the devices before it."""

    order: int = -1
    device: dict[str, Any] = field(default_factory=dict)
    earlier: int = -1
    bindings: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_MOST_BINDINGS))
    tries: int = 0

    @property
    def own(self) -> list[dict[str, Any]]:
        """The bindings of the last device, the last of them last."""
        mine = self.device["generation"]
        return [binding for binding in self.bindings if binding["generation"] == mine]


class Places:
    """Keeps the last device at each address (a Sink of a report)."""

    brief = False

    def __init__(self) -> None:
        self.at: dict[str, Place] = {}
        self.states: Counter[str] = Counter()

    def device(self, order: int, device: dict[str, Any]) -> None:
        """Take DEVICE."""
        self.states[device["state"]] += 1
        place = self.at.setdefault(device["address"], Place())
        place.earlier += 1
        if order > place.order:
            place.order, place.device = order, device

    def binding(self, _order: int, binding: dict[str, Any]) -> None:
        """Take BINDING; those of a device come in their order."""
        place = self.at.setdefault(binding["device"], Place())
        place.tries += 1
        place.bindings.append(binding)


@dataclass(slots=True)
class Page:
    """Everything that a page shows. ``report`` lacks devices and bindings, which ``places`` has."""

    recording: Source
    result: Result
    report: dict[str, Any]
    places: Places
    tracks: dict[str, Track]
    rows: Rows


def collect(recording: Source) -> Page:
    """Read RECORDING. Raises BadInputError."""
    scope = scope_of(recording)
    result = verdict.judge(recording, scope=scope)
    report, places = stream(recording, Places)
    rows, tracks = Rows(recording, _named(result)), _Tracks()
    for event, call in nest(recording):
        if scope.is_all or scope.shows(event):
            rows.add(event, call)
        if call is not None:
            tracks.add(event, call)
    rows.end()
    return Page(recording, result, report, places, tracks.end(rows.ended_ns), rows)


def _named(result: Result) -> frozenset[int]:
    named: set[int] = set()
    for finding in sorted(result.findings, key=lambda one: one.severity != ERROR):
        if len(named) >= _NAMED:
            break
        named |= {*finding.events}
    return frozenset(named)


class _Tracks:
    def __init__(self) -> None:
        self._at: dict[str, Track] = {}
        self._open: dict[int, tuple[Track, Call]] = {}

    def add(self, event: Event, call: Call) -> None:
        """Take EVENT and its CALL."""
        ref = event.device
        if ref is None:
            return
        kind, detail = _SPANS.get(str(event.probe)), event.detail
        if kind is None and (detail is None or detail.status is None):
            return
        track = self._at.get(ref.address)
        if track is None:
            track = self._at[ref.address] = Track()
        if kind is not None:
            if event.kind == RETURN:
                self._open.pop(id(call), None)
                track.stretches.append(_stretch(kind, call, event.ns))
            elif call.ret is None:
                self._open[id(call)] = track, call
        if detail is not None and detail.status is not None:
            track.writes.append(Write(event.seq, event.ns, detail.status))

    def end(self, ended_ns: int) -> dict[str, Track]:
        """The tracks; calls without a return last until ENDED_NS at most."""
        for track, call in self._open.values():
            if not call.is_lost:
                kind = _SPANS[str(call.event.probe)]
                track.stretches.append(_stretch(kind, call, ended_ns))
        return self._at


def _stretch(kind: str, call: Call, ended_ns: int) -> Stretch:
    found = span(call, ended_ns)
    return Stretch(kind, found.start_ns, found.end_ns, call.result, found.open)
