# SPDX-License-Identifier: GPL-2.0-or-later
"""A time axis that leaves out long stretches in which nothing happened."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_GAP_OF_ALL = 25
"""A gap longer than a 25th of what happened is left out."""
_BREAK = 26.0
"""Pixels of a gap that is left out."""
_NICE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time and where it is drawn."""

    start_ns: int
    end_ns: int
    x: float
    width: float


class Axis:
    """Places INTERVALS (start and end in ns) between LEFT and LEFT + WIDTH pixels."""

    def __init__(self, intervals: Iterable[tuple[int, int]], left: float, width: float) -> None:
        busy = _merged(intervals)
        total = sum(end - start for start, end in busy)
        spans = _joined(busy, max(total // _GAP_OF_ALL, 1))
        room = width - _BREAK * max(len(spans) - 1, 0)
        whole = sum(end - start for start, end in spans) or 1
        self.segments: list[Segment] = []
        x = left
        for start, end in spans:
            wide = room * (end - start) / whole
            self.segments.append(Segment(start, end, x, wide))
            x += wide + _BREAK
        self._starts = [one.start_ns for one in self.segments]

    def x(self, ns: int) -> float:
        """Where NS is. In a gap: in the middle of its break."""
        place = bisect_right(self._starts, ns) - 1
        if place < 0:
            return self.segments[0].x
        found = self.segments[place]
        if ns > found.end_ns:
            more = place + 1 < len(self.segments)
            return found.x + found.width + (_BREAK / 2 if more else 0)
        return found.x + found.width * (ns - found.start_ns) / (
            (found.end_ns - found.start_ns) or 1
        )

    def breaks(self) -> Iterator[tuple[float, int]]:
        """The middle of each break, and the ns that it leaves out."""
        for one, other in zip(self.segments, self.segments[1:], strict=False):
            yield one.x + one.width + _BREAK / 2, other.start_ns - one.end_ns

    def ticks(self, apart: float) -> Iterator[tuple[float, int]]:
        """Times at least APART pixels from each other: where a stretch begins, and round ones."""
        whole = sum(one.end_ns - one.start_ns for one in self.segments)
        room = sum(one.width for one in self.segments)
        step = _nice(int(whole * apart / (room or 1)) + 1)
        last = float("-inf")
        for one in self.segments:
            first = -(-one.start_ns // step) * step
            for ns in (one.start_ns, *range(first, one.end_ns + 1, step)):
                x = self.x(ns)
                if x - last >= apart:
                    yield x, ns
                    last = x


def _merged(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _joined(busy: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """BUSY, where those with less than GAP between them are one, each a little longer."""
    joined: list[tuple[int, int]] = []
    for start, end in busy:
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    edge = gap // 8 + 1
    return [(max(start - edge, 0), end + edge) for start, end in joined]


def _nice(ns: int) -> int:
    """The least of 1, 2, 5 times a power of ten that is not less than NS."""
    power = 1
    while True:
        for digit in _NICE:
            if digit * power >= ns:
                return digit * power
        power *= 10
