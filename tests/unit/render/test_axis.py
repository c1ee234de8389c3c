# SPDX-License-Identifier: GPL-2.0-or-later
"""The time axis: in order, within its room, long gaps left out and said."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from virtio_trace.render.page.axis import Axis

MS = 1_000_000


def test_a_long_gap_is_left_out_a_short_one_is_not() -> None:
    axis = Axis([(0, 10 * MS), (10_200_000, 20 * MS), (9_000 * MS, 9_010 * MS)], 100, 900)
    assert len(axis.segments) == 2
    ((middle, gap),) = axis.breaks()
    assert 8_970 * MS < gap < 8_980 * MS
    assert axis.x(20 * MS) < middle < axis.x(9_000 * MS)
    assert axis.x(5_000 * MS) == middle


@pytest.mark.parametrize("seed", range(20))
def test_times_are_in_order_and_within_the_room(seed: int) -> None:
    chance = random.Random(seed)
    starts = [chance.randrange(10**10) for _ in range(30)]
    intervals = [(start, start + chance.randrange(10**8)) for start in starts]
    axis = Axis(intervals, 200, 900)
    times = sorted(ns for interval in intervals for ns in interval)
    places = [axis.x(ns) for ns in times]
    assert places == sorted(places)
    assert places[0] >= 200 and places[-1] <= 1100 + 1e-6
    ticks = list(axis.ticks(90))
    assert ticks and all(b[0] - a[0] >= 90 for a, b in pairwise(ticks))


def test_a_single_moment_has_a_place() -> None:
    axis = Axis([(5, 5)], 10, 100)
    assert 10 <= axis.x(5) <= 110
    assert axis.x(0) == 10 and list(axis.breaks()) == []
