# SPDX-License-Identifier: GPL-2.0-or-later
"""When each call ran: spans for timelines and for shares of the boot time.

Times are nanoseconds since boot (CLOCK_MONOTONIC).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from virtio_trace.graph.calls import Call


@dataclass(frozen=True, slots=True)
class Span:
    """A call from its start to its end. ``open``: its return was not seen. ``end_ns`` is then the
    latest possible end: that of the enclosing call, or of the recording."""

    call: Call
    start_ns: int
    end_ns: int
    open: bool

    @property
    def tid(self) -> int:
        """The thread that ran it."""
        return self.call.event.tid

    @property
    def is_hit(self) -> bool:
        """Whether it is a single event without a duration: a hit, or the load of a module."""
        return self.call.entry is self.call.ret


def span(call: Call, ended_ns: int) -> Span:
    """The span of CALL in a recording whose last event was at ENDED_NS.

    The start is the return's time minus the measured duration: the kernel's return probe takes the
    start time a moment before the entry's event. It is known even if the entry was lost.
    """
    start, ret = call.event.ns, call.ret
    if ret is call.entry:
        return Span(call, start, start, False)
    if ret is None:
        outer = call.parent
        while outer is not None and outer.ret is None:
            outer = outer.parent
        end = ended_ns if outer is None or outer.ret is None else outer.ret.ns
        return Span(call, start, max(start, end), True)
    if ret.duration_ns is not None:
        start = max(ret.ns - ret.duration_ns, 0)
    return Span(call, min(start, ret.ns), ret.ns, False)


class Lanes:
    """Distributes spans over lanes: each goes to the first lane that has room.

    Several threads can work on one device at the same time, and lost events can make two calls of
    one thread overlap. Two spans on a lane are either disjoint, or nested and of the same thread.
    Spans come by their start, those with a later end first, then by sequence number. The time for
    each grows with the logarithm of the number of lanes.

    OVER is called for each span that is over, with its lane and its end, before one that begins at
    that end or after it is put on its lane; the inner one first.
    """

    def __init__(self, over: Callable[[int, int], None]) -> None:
        self._over = over
        self._only: list[tuple[int, int]] | None = []
        """The first lane, as long as there is no other."""
        self._within: list[list[tuple[int, int]]] = [self._only]
        self._free: list[int] = []
        self._of_thread: dict[int, set[int]] = {}
        self._ends: list[tuple[int, int]] = []

    def place(self, start: int, end: int, tid: int) -> int:
        """The lane, from 0, of a span of thread TID."""
        if self._only is not None:
            within = self._only
            while within and within[-1][0] <= start:
                self._over(0, within.pop()[0])
            if not within or (within[-1][1] == tid and within[-1][0] >= end):
                if end > start:
                    within.append((end, tid))
                return 0
            self._only = None
            self._ends = [(last, 0) for last, _ in within]
            heapify(self._ends)
            self._enter(0)
        while self._ends and self._ends[0][0] <= start:
            _, lane = heappop(self._ends)
            self._end(lane)
        lane = self._find(end, tid)
        if end > start:  # nothing can be inside the others
            self._leave(lane)
            self._within[lane].append((end, tid))
            self._enter(lane)
            heappush(self._ends, (end, lane))
        else:
            self._restore(lane)
        return lane

    def end(self) -> None:
        """No more spans come."""
        while self._only:
            self._over(0, self._only.pop()[0])
        while self._ends:
            _, lane = heappop(self._ends)
            self._end(lane)

    def _find(self, end: int, tid: int) -> int:
        """The first lane that has room. Takes it from the free ones."""
        mine = self._of_thread.get(tid, ())
        around = min((lane for lane in mine if self._within[lane][-1][0] >= end), default=None)
        if self._free and (around is None or self._free[0] < around):
            return heappop(self._free)
        if around is not None:
            return around
        self._within.append([])
        return len(self._within) - 1

    def _restore(self, lane: int) -> None:
        if not self._within[lane]:
            heappush(self._free, lane)

    def _end(self, lane: int) -> None:
        self._leave(lane)
        end, _ = self._within[lane].pop()
        self._over(lane, end)
        self._enter(lane)
        self._restore(lane)

    def _leave(self, lane: int) -> None:
        if self._within[lane]:
            tid = self._within[lane][-1][1]
            lanes = self._of_thread[tid]
            lanes.discard(lane)
            if not lanes:
                del self._of_thread[tid]

    def _enter(self, lane: int) -> None:
        if self._within[lane]:
            self._of_thread.setdefault(self._within[lane][-1][1], set()).add(lane)
