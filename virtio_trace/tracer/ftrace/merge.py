# SPDX-License-Identifier: GPL-2.0-or-later
"""Merges boot-time events with those of the BPF program: no hit twice, none lost in between.

For a while both are armed, and both see each hit. The two timestamps of a hit differ by the run
time of the first handler, so hits are matched in pairs instead of cut at a time. Pure.

See docs/decisions/0017.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.tracer.points import table

SLACK_NS = 100_000_000
"""The two timestamps of one hit are closer than this (measured under TCG: 2 to 600 microseconds).
Both are armed for at least this long, so that a hit before and one after are not paired."""

BOOT, LIVE = "boot", "live"
"""The two streams."""

_ROUNDING_NS = 500
"""The ring's text is rounded to microseconds."""

_NEXT_NS = 10_000
"""Two hits of one function in one thread that are closer may be confused by the rounding."""

_AT_RETURN = frozenset(
    point.name for point in (*table.CORE_POINTS, *table.NEGOTIATION_POINTS) if not point.entry
)
"""Probe points whose hits are returns: there the program's handler may run first."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """When both were armed for certain, in nanoseconds: from ``begin``, after the program's last
    probe was attached, to ``end``, before the first boot-time event was disabled. ``since``:
    before the program's first probe was attached."""

    since: int
    begin: int
    end: int

    @property
    def cut(self) -> int:
        """Of a hit that both saw, keep the boot-time event before this time, else the program's."""
        return (self.begin + self.end) // 2


class Numbering:
    """Numbers the events of merged streams. A gap in a stream's own numbers, where it lost events,
    becomes a gap in the result."""

    def __init__(self) -> None:
        self._last = 0
        self._of: dict[str, int] = {}
        self._gap = 0

    def skip(self, event: Event, stream: str) -> None:
        """Leave EVENT out, but keep the gap before it."""
        self._gap += event.seq - self._of.get(stream, 0) - 1
        self._of[stream] = event.seq

    def number(self, event: Event, stream: str) -> Event:
        """Number EVENT, the next one of STREAM."""
        self.skip(event, stream)
        self._last += 1 + self._gap
        self._gap = 0
        event.seq = self._last
        return event


class Stream:
    """The events of BOOT, if any, followed by the program's as they come."""

    def __init__(self, boot: Sequence[Event] = (), overlap: Overlap | None = None) -> None:
        self._boot = boot
        self._overlap = overlap
        self._numbering = Numbering()

    @property
    def waits(self) -> bool:
        """Whether the next add() merges, and must be given all events so far."""
        return self._overlap is not None

    def add(self, live: Sequence[Event]) -> list[Event]:
        """The next events of the merged stream, numbered. LIVE are the program's."""
        overlap, self._overlap = self._overlap, None
        if overlap is None:
            return [self._numbering.number(event, LIVE) for event in live]
        return merge(self._boot, live, overlap, self._numbering)


def merge(
    boot: Sequence[Event], live: Sequence[Event], overlap: Overlap, numbering: Numbering
) -> list[Event]:
    """Both in one order, each hit once. LIVE has all that the program saw until the boot-time
    events were disabled. Each is in its own order; BOOT is numbered from 1."""
    twins = _twins(boot, live, overlap)
    gone = {id(theirs) if ours.ns < overlap.cut else id(ours) for ours, theirs in twins}
    out: list[Event] = []
    i = j = 0
    while i < len(boot) or j < len(live):
        ours = j == len(live) or (i < len(boot) and boot[i].ns <= live[j].ns)
        event, stream = (boot[i], BOOT) if ours else (live[j], LIVE)
        i, j = i + ours, j + (not ours)
        if id(event) in gone:
            numbering.skip(event, stream)
        else:
            out.append(numbering.number(event, stream))
    return out


_ns = attrgetter("ns")
_Key = tuple[Any, ...]
_Pair = tuple[Event, Event]


def _twins(boot: Sequence[Event], live: Sequence[Event], overlap: Overlap) -> list[_Pair]:
    """The pairs of events that are the same hit."""
    near = [event for event in boot if event.ns >= overlap.since - SLACK_NS]
    found = _in_turn(_by_key(near, _begins), _by_key(live, _begins), overlap)
    ours, theirs = _returns(boot), _returns(live)
    found += [
        (ours[id(first)], theirs[id(second)])
        for first, second in found
        if id(first) in ours and id(second) in theirs
    ]
    return found + _nearest(_by_key(near, _alone), _by_key(live, _alone))


def _begins(event: Event) -> bool:
    return event.kind in (ev.ENTRY, ev.HIT) and event.probe not in _AT_RETURN


def _alone(event: Event) -> bool:
    return event.kind == ev.MODULE or (event.kind == ev.HIT and event.probe in _AT_RETURN)


def _by_key(events: Iterable[Event], which: Callable[[Event], bool]) -> dict[_Key, list[Event]]:
    found: dict[_Key, list[Event]] = {}
    for event in events:
        if which(event):
            key = (event.tid, event.kind, event.probe, event.function, event.module)
            found.setdefault(key, []).append(event)
    return found


def _in_turn(
    boot: dict[_Key, list[Event]], live: dict[_Key, list[Event]], overlap: Overlap
) -> list[_Pair]:
    """In one thread, both handlers see a hit before the next hit comes. Which handler runs first is
    the same for all hits (kernel/kprobes.c, add_new_kprobe: the one armed last). Of the two
    possible orders, the wrong one pairs timestamps that are as far apart as two hits."""
    ours_first = [pair for key, ours in boot.items() for pair in _turns(ours, live.get(key, []))]
    theirs_first = [
        (ours, theirs)
        for key, second in boot.items()
        for theirs, ours in _turns(live.get(key, []), second)
    ]
    orders = [
        [pair for pair in pairs if _may_be_one(*pair, overlap)]
        for pairs in (ours_first, theirs_first)
    ]
    return min(orders, key=_pairing_cost)


def _turns(first: list[Event], second: list[Event]) -> list[_Pair]:
    """Pair each of SECOND with the last unpaired one of FIRST before it."""
    found = []
    stamps = [event.ns for event in first]
    used = 0
    for event in second:
        at = bisect_right(stamps, event.ns + _ROUNDING_NS) - 1
        near = at > used and stamps[at - 1] > event.ns - _NEXT_NS
        if near and stamps[at] >= event.ns - _ROUNDING_NS > stamps[at - 1]:
            at -= 1  # rounding may put the next hit's timestamp at or before this one
        if at >= used:
            used = at + 1
            found.append((first[at], event))
    return found


def _may_be_one(ours: Event, theirs: Event, overlap: Overlap) -> bool:
    """While both were armed for certain, any distance will do; else at most SLACK_NS."""
    certain = overlap.begin <= min(ours.ns, theirs.ns) and max(ours.ns, theirs.ns) <= overlap.end
    return certain or abs(theirs.ns - ours.ns) < SLACK_NS


def _pairing_cost(pairs: list[_Pair]) -> int:
    """Total distance of the pairs, in nanoseconds; one more pair outweighs any distance."""
    return sum(min(abs(b.ns - a.ns), SLACK_NS) - 2 * SLACK_NS for a, b in pairs)


def _nearest(boot: dict[_Key, list[Event]], live: dict[_Key, list[Event]]) -> list[_Pair]:
    """Pair each with the nearest in time, whichever handler ran first."""
    return [pair for key, ours in boot.items() for pair in _near(ours, live.get(key, []))]


def _near(first: list[Event], second: list[Event]) -> list[_Pair]:
    """Pair each of FIRST, in the order of time, with the nearest unpaired one of SECOND.

    It is the last unpaired one before it or the first one after it, so each is looked at once: a
    guest decides how many there are."""
    found = []
    before: list[Event] = []
    after = sorted(second, key=_ns)
    at = 0
    for event in sorted(first, key=_ns):
        while at < len(after) and after[at].ns < event.ns:
            before.append(after[at])
            at += 1
        back = event.ns - before[-1].ns if before else SLACK_NS
        ahead = after[at].ns - event.ns if at < len(after) else SLACK_NS
        if min(back, ahead) >= SLACK_NS:
            continue
        if back <= ahead:
            found.append((event, before.pop()))
        else:
            found.append((event, after[at]))
            at += 1
    return found


def _returns(events: Iterable[Event]) -> dict[int, Event]:
    """Each call's return by the id() of its entry."""
    calls: dict[_Key, list[Event]] = {}
    found: dict[int, Event] = {}
    for event in events:
        key = (event.tid, event.probe, event.function, event.module)
        if event.kind == ev.ENTRY:
            calls.setdefault(key, []).append(event)
        elif event.kind == ev.RETURN and calls.get(key):
            found[id(calls[key].pop())] = event
    return found
