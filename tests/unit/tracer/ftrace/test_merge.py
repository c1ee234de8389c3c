# SPDX-License-Identifier: GPL-2.0-or-later
"""Merging boot-time events with the program's, with the overlap in every possible place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from virtio_trace.recording.events import ENTRY, HIT, MODULE, RETURN, Event
from virtio_trace.tracer.ftrace.merge import SLACK_NS, Overlap, Stream

SECOND = 1_000_000_000
OVERLAP = Overlap(10 * SECOND, 20 * SECOND, 20 * SECOND + 3 * SLACK_NS)


def calls(seed: int, count: int) -> list[Event]:
    """What happens in two threads: nested calls and hits, in one order."""
    random, now, out = Random(seed), 5 * SECOND, []
    open_calls: dict[int, list[str]] = {1: [], 2: []}
    for _ in range(count):
        now += random.choice((3_000, 40_000, 700_000, 30_000_000))
        tid = random.choice((1, 1, 1, 2))
        stack, what = open_calls[tid], random.random()
        event = Event(0, now, 0, tid, "comm", HIT, "set_status", "vp_set_status")
        if what < 0.3:
            event = replace(event, kind=HIT)
        elif what < 0.4:
            event = replace(event, probe="get_features", function="vp_get_features")
        elif what < 0.45:
            event = replace(event, kind=MODULE, probe=None, function=None, module="virtio_net")
        elif (what < 0.75 and len(stack) < 3) or not stack:
            stack.append(random.choice(("virtio_dev_match", "virtio_dev_probe")))
            event = replace(event, kind=ENTRY, probe=stack[-1], function=stack[-1])
        else:
            name = stack.pop()
            event = replace(event, kind=RETURN, probe=name, function=name, result=0)
        out.append(event)
    return out


def seen(
    happened: list[Event],
    random: Random,
    attach: tuple[int, int],
    stop: tuple[int, int],
    newest_first: bool,
) -> tuple[list[Event], list[Event], list[Event]]:
    """What the boot-time events saw, what the program saw, and what either saw.

    Each function is attached at its own time within ATTACH and disabled at its own within STOP. The
    program does not see the return of a call that began before it was attached.
    """
    names = sorted({event.probe or "" for event in happened})
    armed = {name: random.randint(*attach) for name in names}
    off = {name: random.randint(*stop) for name in names}
    boot: list[Event] = []
    live: list[Event] = []
    either: list[Event] = []
    begun: dict[tuple[int, str], list[bool]] = {}
    for event in happened:
        name = event.probe or ""
        ours = event.ns < off[name]
        theirs = event.ns >= armed[name]
        stack = begun.setdefault((event.tid, name), [])
        if event.kind == ENTRY:
            stack.append(theirs)
        elif event.kind == RETURN:
            theirs = stack.pop()
        late = random.choice((500, 2_000, 2_500))  # the second handler's timestamp
        theirs_first = (event.kind == RETURN or name == "get_features") != newest_first
        if ours:
            ns = event.ns + (late if theirs_first else 0)
            boot.append(replace(event, ns=round(ns, -3), seq=len(boot) + 1))
        if theirs:
            ns = event.ns + (0 if theirs_first else late)
            live.append(replace(event, ns=ns, seq=len(live) + 1))
        if ours or theirs:
            either.append(event)
    return boot, live, either


def told(events: list[Event]) -> list[tuple[object, ...]]:
    return [(e.tid, e.kind, e.probe, e.function, e.module, e.result) for e in events]


def by_thread(events: list[Event]) -> dict[int, list[tuple[object, ...]]]:
    return {tid: told([e for e in events if e.tid == tid]) for tid in (1, 2)}


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_every_hit_once_and_in_the_order_of_its_thread(seed: int, newest_first: bool) -> None:
    random = Random(seed)
    happened = calls(seed, 2500)
    attach = (OVERLAP.since, OVERLAP.begin)
    stop = (OVERLAP.end, OVERLAP.end + SECOND)
    boot, live, either = seen(happened, random, attach, stop, newest_first)
    assert boot[-1].ns > OVERLAP.end > OVERLAP.begin > live[0].ns
    assert len(boot) + len(live) > len(either) + 50
    out = Stream(boot, OVERLAP).add(live)
    assert by_thread(out) == by_thread(either)
    assert [event.seq for event in out] == list(range(1, len(out) + 1))


def hit(seq: int, ns: int, **more: object) -> Event:
    return replace(Event(seq, ns, 0, 1, "c", HIT, "reset", "vp_reset"), **more)  # type: ignore[arg-type]


def test_lost_events_are_a_gap_wherever_they_were() -> None:
    """Two before the first of boot, one of the program's before one that is left out."""
    boot = [hit(3, SECOND), hit(4, OVERLAP.begin + 1000)]
    live = [hit(2, OVERLAP.begin + 3000), hit(3, 30 * SECOND)]
    stream = Stream(boot, OVERLAP)
    assert stream.waits
    out = stream.add(live)
    assert not stream.waits
    assert [(event.seq, event.ns) for event in out] == [
        (3, SECOND), (4, OVERLAP.begin + 1000), (6, 30 * SECOND),
    ]  # fmt: skip
    assert [event.seq for event in stream.add([hit(4, 31 * SECOND), hit(7, 32 * SECOND)])] == [
        7,
        10,
    ]


def test_a_delay_between_the_two_handlers_makes_no_second_hit() -> None:
    """While both were armed for certain, any time may be between the timestamps."""
    boot = [hit(1, OVERLAP.begin + 1000)]
    out = Stream(boot, OVERLAP).add([hit(1, OVERLAP.end - 1000)])
    assert len(out) == 1


def test_a_hit_before_and_another_after_are_two() -> None:
    boot = [hit(1, OVERLAP.begin - 1000)]
    out = Stream(boot, OVERLAP).add([hit(1, OVERLAP.end + 1000)])
    assert len(out) == 2


def test_without_boot_time_events_nothing_is_merged() -> None:
    stream = Stream()
    assert not stream.waits
    assert [event.seq for event in stream.add([hit(1, 5), hit(4, 6)])] == [1, 4]


class CountedNs(int):
    """A time that counts how often one is compared or subtracted."""

    operations = 0


def counted(name: str) -> Callable[[int, int], object]:
    def operation(self: int, other: int) -> object:
        CountedNs.operations += 1
        return getattr(int, name)(self, other)

    return operation


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__sub__", "__rsub__"):
    setattr(CountedNs, _name, counted(_name))


def operations(count: int, kind: str, probe: str | None, apart: int) -> int:
    """What it takes to merge COUNT hits that both saw, APART nanoseconds from each other."""
    where = {"kind": kind, "probe": probe, "function": probe}
    times = [(n, OVERLAP.begin + n * apart) for n in range(1, count + 1)]
    boot = [hit(n, CountedNs(ns), **where) for n, ns in times]
    live = [hit(n, CountedNs(ns + 400), **where) for n, ns in times]
    CountedNs.operations = 0
    assert count <= len(Stream(boot, OVERLAP).add(live)) <= 2 * count
    return CountedNs.operations


@pytest.mark.parametrize("apart", [0, 1_000, 300_000])
@pytest.mark.parametrize(
    ("kind", "probe"), [(HIT, "get_features"), (MODULE, None), (ENTRY, "virtio_dev_probe")]
)
def test_a_guest_cannot_make_merging_quadratic(kind: str, probe: str | None, apart: int) -> None:
    few = operations(500, kind, probe, apart)
    assert few > 500
    assert operations(4_000, kind, probe, apart) < 8 * 1.4 * few


@pytest.mark.parametrize("seed", range(40))
def test_what_stands_alone_is_paired_with_the_nearest(seed: int) -> None:
    """As if each boot-time event looked at all of the program's that are left."""
    random = Random(seed)
    stamps = range(OVERLAP.begin, OVERLAP.begin + 4 * SLACK_NS, SLACK_NS // 10)
    boot, live = (
        [
            hit(n, ns, kind=MODULE, probe=None, function=None)
            for n, ns in enumerate(sorted(random.sample(stamps, random.randint(1, 25))), 1)
        ]
        for _ in range(2)
    )
    left, alone = [event.ns for event in live], []
    for ns in (event.ns for event in boot):
        nearest = min(left, key=lambda other: abs(other - ns), default=ns + SLACK_NS)
        if abs(nearest - ns) < SLACK_NS:
            left.remove(nearest)
        else:
            alone.append(ns)
    late = replace(OVERLAP, end=OVERLAP.begin + 1000 * SECOND)
    out = Stream(boot, late).add(live)
    assert sorted(event.ns for event in out) == sorted([event.ns for event in boot] + left)
    assert set(alone) <= {event.ns for event in out}
