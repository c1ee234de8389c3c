# SPDX-License-Identifier: GPL-2.0-or-later
"""What is complete is handed over and not kept, and what depends on the end waits for it."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.bench import enlarge
from tests.unit.surgery import Line, at, dump, golden, mend
from virtio_trace.check import verdict
from virtio_trace.check.checkers import LinuxChecker
from virtio_trace.check.findings import CONFORMS, INCOMPLETE
from virtio_trace.check.proof import assumed, found
from virtio_trace.graph import builder
from virtio_trace.graph.timeline import Lanes
from virtio_trace.recording import reader
from virtio_trace.recording.reader import Recording
from virtio_trace.render.sorter import Sorter


def rebound(events: int = 3000) -> list[Line]:
    return list(enlarge.enlarge(golden("debian-6.1-rebind"), events))


def read(lines: list[Line]) -> Recording:
    return reader.read(dump(lines), "test")


def test_devices_that_are_judged_are_not_kept() -> None:
    recording = read(rebound())
    everything = builder.build(recording)
    judged = builder.build(recording, LinuxChecker(assumed(recording)))
    assert len(everything.devices) > 50
    assert len(judged.devices) == len({device.address for device in everything.devices})
    assert verdict.judge(recording).verdict == CONFORMS


def test_a_loss_at_the_end_counts_for_the_devices_judged_before() -> None:
    """A return without an entry is seen last; the devices had been judged as if all was there."""
    lines = rebound()
    place = max(i for i, e in enumerate(lines) if "seq" in e and at("setup_vq", kind="entry")(e))
    missing = next(
        i for i, e in enumerate(lines) if "seq" in e and at("driver_probe", kind="entry")(e)
    )
    end = next(i for i in range(missing, len(lines)) if at("driver_probe", kind="return")(lines[i]))
    one = mend([*lines[:missing], *lines[missing + 1 : end], *lines[end + 1 :]])
    (error,) = [f for f in verdict.judge(read(one)).findings if f.step == "driver-probed"]
    assert error.severity == "error"
    both = mend([*one[: place - 2], *one[place - 1 :]])
    recording = read(both)
    result = verdict.judge(recording)
    assert result.verdict == INCOMPLETE
    (warning,) = [f for f in result.findings if f.step == "driver-probed"]
    assert warning.severity == "warning"
    graph = builder.build(recording)
    assert found(graph, "linux").unnoticed and not assumed(recording).unnoticed


@pytest.mark.parametrize("number", [0, 1, 19_999, 20_000, 70_000])
def test_sorted_in_runs_is_sorted(number: int) -> None:
    chance = random.Random(number)
    records = [(chance.randrange(number), n, None, "x") for n in range(number)]
    sorter = Sorter()
    for record in records:
        sorter.add(record)
    assert list(sorter) == sorted(records)


@pytest.mark.parametrize("seed", range(50))
def test_a_span_takes_the_first_lane_that_has_room(seed: int) -> None:
    chance = random.Random(seed)
    spans = [(start := chance.randrange(60), start + chance.choice((0, 1, 5, 40)), tid)
             for tid in chance.choices(range(3), k=60)]  # fmt: skip
    spans.sort(key=lambda span: (span[0], -span[1]))
    lanes = Lanes(lambda _lane, _end: None)
    within: list[list[tuple[int, int, int]]] = []
    for start, end, tid in spans:
        for lane in itertools.count():
            if lane == len(within):
                within.append([])
            while within[lane] and within[lane][-1][1] <= start:
                within[lane].pop()
            top = within[lane][-1] if within[lane] else None
            if top is None or (top[2] == tid and end <= top[1]):
                break
        within[lane].append((start, end, tid))
        assert lanes.place(start, end, tid) == lane
