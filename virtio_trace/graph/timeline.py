# SPDX-License-Identifier: GPL-2.0-or-later
"""When each call ran: spans for timelines and for shares of the boot time.

Times are nanoseconds since boot (CLOCK_MONOTONIC).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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


def lanes(items: Iterable[Span]) -> list[list[Span]]:
    """Distribute ITEMS over lanes: each goes to the first lane that has room.

    Several threads can work on one device at the same time, and lost events can make two calls of
    one thread overlap. Two spans on a lane are either disjoint, or nested and of the same thread.
    The spans of a lane are in order of their start, the outer one first.
    """
    found: list[list[Span]] = []
    within: list[list[Span]] = []
    for item in sorted(items, key=lambda s: (s.start_ns, -s.end_ns, s.call.event.seq)):
        place = next((n for n, outer in enumerate(within) if _has_room(outer, item)), len(found))
        if place == len(found):
            found.append([])
            within.append([])
        found[place].append(item)
        within[place].append(item)
    return found


def _has_room(within: list[Span], item: Span) -> bool:
    """Whether ITEM fits into the innermost span of WITHIN that has not ended when ITEM starts.
    Removes the spans that have ended."""
    while within and within[-1].end_ns <= item.start_ns:
        within.pop()
    if not within:
        return True
    return within[-1].tid == item.tid and item.end_ns <= within[-1].end_ns
