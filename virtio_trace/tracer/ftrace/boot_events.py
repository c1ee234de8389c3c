# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes in what the kernel recorded of its own boot, once; see bootline.py for how it is made to.

The order: the program is armed, so that nothing falls between; both are armed for a moment, by
which hits that both saw are told apart (merge.py); the boot-time events are disabled, the ring is
drained, the definitions are removed, which wipes it.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from virtio_trace.errors import CannotTraceError
from virtio_trace.recording import header
from virtio_trace.recording.events import MODULE, Event
from virtio_trace.recording.probe_state import ABSENT, ARMED, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.ftrace import cmdline, fetchargs
from virtio_trace.tracer.ftrace.boot_ring import BootEvents
from virtio_trace.tracer.ftrace.fetchargs import Definition, Offsets
from virtio_trace.tracer.ftrace.merge import SLACK_NS, Overlap
from virtio_trace.tracer.ftrace.text_decoder import RingText
from virtio_trace.tracer.points.resolve import Settled

CLOCK = "mono"

_Key = tuple[str, str, str | None]
"""As kprobes.armed_functions counts them: kind, symbol, module."""


@dataclass(frozen=True, slots=True)
class Live:
    """What was armed besides. ``since``, ``armed``: before the first and behind the last probe was
    attached, nanoseconds; ``listed``: the kernel's list of kprobes, and ``needed`` how many of
    each it has for that; ``loaded``: the modules that are there; ``builtin``: what is built in."""

    since: int
    armed: int
    listed: Mapping[_Key, int]
    needed: Mapping[_Key, int]
    loaded: Collection[str]
    builtin: Collection[str]


@dataclass(slots=True)
class BootTime:
    """What was taken in. ``events`` count from 1 and skip what was ``lost``; ``states`` say of each
    probe point whether it was armed at boot; ``strange`` counts definitions that were none of this
    kernel's. ``reason``: why nothing could be taken in."""

    events: list[Event] = field(default_factory=list)
    lost: int = 0
    states: list[ProbeState] = field(default_factory=list)
    overlap: Overlap | None = None
    strange: int = 0
    reason: str | None = None

    @property
    def summary(self) -> header.BootEvents:
        """For the recording's header."""
        return header.BootEvents(
            len(self.events), self.lost, self.reason, self.strange, tuple(self.states)
        )


def take(
    tracefs: BootEvents, settled: Sequence[Settled], offsets: Offsets, machine: str, live: Live
) -> BootTime | None:
    """The boot-time events of this kernel, which are gone then; None where it has none.

    Raises CannotTraceError where tracefs cannot be read.
    """
    listed = cmdline.listed(tracefs.listed())
    if not listed:
        return None
    every = fetchargs.definitions(settled, offsets, machine, whole=False)
    definitions, strange = cmdline.recognized(listed, every)
    found = BootTime(strange=len(strange))
    clock = tracefs.clock()
    if not definitions:
        found.reason = "at boot: its events were made for another kernel"
    elif clock != CLOCK:
        found.reason = f"at boot: its events have the clock {clock}, not {CLOCK}"
    try:
        with tracefs.pipe() as drain:
            _let_both_see()
            end = time.monotonic_ns()
            tracefs.stop()
            counts, overrun = tracefs.counts(), tracefs.overrun()
            lines = drain()
    except CannotTraceError as error:
        found.reason = f"at boot: {error}"  # it is left as it is: the next recorder may have it
    else:
        # What stays is empty: to the next recorder its hits are events that were lost.
        with contextlib.suppress(CannotTraceError):
            tracefs.remove()
    if found.reason is None:
        found.overlap = Overlap(live.since, live.armed, end)
        ring = RingText(definitions, offsets)
        _read(found, ring, lines, counts, overrun)
        found.states = _states(settled, definitions, found, counts, live)
    else:
        found.states = [
            one.state(NOT_ARMED, found.reason) for one in settled if one.target is not None
        ]
    return found


def _let_both_see() -> None:
    time.sleep(1.5 * SLACK_NS / 1e9)


def _read(
    found: BootTime,
    ring: RingText,
    lines: Sequence[str],
    counts: Mapping[str, tuple[int, int]],
    overrun: int,
) -> None:
    """The events, and how many there should have been: the kernel counts every hit, whatever
    became of it in the ring."""
    found.events = ring.events(lines)
    hits = sum(counts.get(name, (0, 0))[0] for name in ring.names)
    seen = sum(ring.hits.get(name, 0) for name in ring.names)
    found.lost = max(ring.lost, overrun, hits - seen)
    for event in found.events:  # what was lost without a mark is what came first
        event.seq += found.lost - ring.lost


def _states(
    settled: Sequence[Settled],
    definitions: Sequence[Definition],
    found: BootTime,
    counts: Mapping[str, tuple[int, int]],
    live: Live,
) -> list[ProbeState]:
    """Of each point that has a function here."""
    came = {*live.loaded, *(event.module for event in found.events if event.kind == MODULE)}
    needed = Counter(live.needed)
    needed.update(_key(one) for one in definitions)
    mine: dict[int, list[Definition]] = {}
    for one in definitions:
        mine.setdefault(one.number, []).append(one)
    out = []
    for number, point in enumerate(settled):
        if point.target is None:
            continue
        module, defined = point.target.module, mine.get(number, [])
        whole = len(defined) == 1 + point.point.returns
        hit = any(counts.get(one.name, (0, 0))[0] for one in defined)
        listed = all(live.listed.get(_key(one), 0) >= needed[_key(one)] for one in defined)
        if module is not None and module not in came:
            out.append(point.state(WAITING))
        elif whole and (hit or listed):
            missed = sum(counts.get(one.name, (0, 0))[1] for one in defined)
            out.append(point.state(ARMED, missed=missed))
        elif point.point.name == "bus_register" and "virtio" in live.builtin:
            out.append(point.state(ABSENT, f"at boot: {cmdline.BUS_TOO_EARLY}"))
        else:
            why = "accepted, but not in the kernel's list of kprobes" if whole else _NOT_THERE
            out.append(point.state(NOT_ARMED, f"at boot: {why}"))
    return out


_NOT_THERE = "not on the kernel's command line"


def _key(one: Definition) -> _Key:
    return ("r" if one.returns else "k", one.target.symbol, one.target.module)
