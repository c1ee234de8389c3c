# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects what the kernel recorded of its own boot, once; cmdline.py makes it record.

The BPF program is armed first, so that no event is missed. For a moment both are armed, and see the
same hits (merge.py finds those). Then the boot-time events are disabled, the ring is drained, and
the definitions are removed, which clears the ring.
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
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.boot_ring import BootEvents
from virtio_trace.tracer.ftrace.confirm import ONLY_ACCEPTED, is_listed
from virtio_trace.tracer.ftrace.definitions import Definition, definitions
from virtio_trace.tracer.ftrace.fetchargs import Offsets
from virtio_trace.tracer.ftrace.merge import SLACK_NS, Overlap
from virtio_trace.tracer.ftrace.text_decoder import TextDecoder
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import ListKey

CLOCK = "mono"
"""The clock of all recordings: CLOCK_MONOTONIC, as trace_clock names it."""

_NOT_THERE = "not on the kernel's command line"


@dataclass(frozen=True, slots=True)
class LiveArming:
    """What this recorder has armed. ``since`` and ``armed`` are the times, in nanoseconds, before
    the first and after the last probe was attached. ``listed`` is the kernel's list of kprobes now,
    ``needed`` how often it has each function for this recorder alone. ``loaded`` are the modules
    that are loaded, ``builtin`` those that are built in. ``shared``: numbers of the probes whose
    boot-time events are the recorder's own, too."""

    since: int
    armed: int
    listed: Mapping[ListKey, int]
    needed: Mapping[ListKey, int]
    loaded: Collection[str]
    builtin: Collection[str]
    shared: Collection[int] = ()


@dataclass(slots=True)
class BootTime:
    """What was collected. ``events`` are numbered from 1 and skip the ``lost`` ones; ``states`` say
    whether each probe was armed at boot; ``foreign`` counts definitions made for another kernel.
    ``reason``: why nothing could be collected."""

    events: list[Event] = field(default_factory=list)
    lost: int = 0
    states: list[ProbeState] = field(default_factory=list)
    overlap: Overlap | None = None
    foreign: int = 0
    reason: str | None = None

    @property
    def summary(self) -> header.BootEvents:
        """For the recording's header."""
        return header.BootEvents(
            len(self.events), self.lost, self.reason, self.foreign, tuple(self.states)
        )


@dataclass(frozen=True, slots=True)
class BootRing:
    """What tracefs has of the boot-time events. ``listed`` is the text of kprobe_events, ``clock``
    the ring's, ``counts`` is by event name (hits, missed hits), ``lines`` are the ring's, ``end``
    is the time before the first of them was disabled, or read; nanoseconds.

    The hits are those before the events were disabled or the lines were read, so each of them has
    a line or is lost. A later one may have none: while an event is disabled, the kernel still
    counts its hits after it has stopped writing them (disable_trace_kprobe waits for RCU between
    the two, kernel/trace/trace_kprobe.c)."""

    listed: str
    clock: str
    counts: Mapping[str, tuple[int, int]]
    overrun: int
    lines: Sequence[str]
    end: int


def collect(
    tracefs: BootEvents,
    probes: Sequence[ResolvedProbe],
    offsets: Offsets,
    machine: str,
    live: LiveArming,
) -> BootTime | None:
    """The boot-time events of this kernel, which are then removed; None if it has none.

    Raises CannotTraceError if tracefs cannot be read.
    """
    listed, clock = tracefs.listed(), tracefs.clock()
    if not cmdline.listed(listed):
        return None
    ring: BootRing | str
    try:
        with tracefs.pipe() as drain:
            _let_both_see()
            end, before = time.monotonic_ns(), tracefs.counts()
            tracefs.stop()
            counts = {name: (before.get(name, (0, 0))[0], missed)
                      for name, (_, missed) in tracefs.counts().items()}  # fmt: skip
            ring = BootRing(listed, clock, counts, tracefs.overrun(), drain(), end)
    except CannotTraceError as error:
        # Left alone: the next recorder may collect it.
        found = BootTime(reason=f"at boot: {error}")
        found.foreign = len(_matched(listed, probes, offsets, machine)[1])
        found.states = _unread(probes, found.reason)
        return found
    # If a definition stays, the next recorder finds an empty ring: its hits count as lost.
    with contextlib.suppress(CannotTraceError):
        tracefs.remove()
    return interpret(ring, probes, offsets, machine, live)


def interpret(
    ring: BootRing,
    probes: Sequence[ResolvedProbe],
    offsets: Offsets,
    machine: str,
    live: LiveArming,
) -> BootTime | None:
    """The boot-time events in RING; None if the kernel has none. Pure."""
    if not cmdline.listed(ring.listed):
        return None
    matched, foreign = _matched(ring.listed, probes, offsets, machine)
    found = BootTime(foreign=len(foreign))
    if not matched:
        found.reason = "at boot: its events were made for another kernel"
    elif ring.clock != CLOCK:
        found.reason = f"at boot: its events use the clock {ring.clock}, not {CLOCK}"
    if found.reason is not None:
        found.states = _unread(probes, found.reason)
        return found
    found.overlap = Overlap(live.since, live.armed, ring.end)
    decoder = TextDecoder(matched, offsets)
    _read(found, decoder, ring.lines, ring.counts, ring.overrun)
    found.states = _states(probes, matched, found, ring.counts, live)
    return found


def _matched(
    listed: str, probes: Sequence[ResolvedProbe], offsets: Offsets, machine: str
) -> tuple[list[Definition], list[cmdline.Listed]]:
    return cmdline.match(cmdline.listed(listed), definitions(probes, offsets, machine, whole=False))


def _unread(probes: Sequence[ResolvedProbe], reason: str | None) -> list[ProbeState]:
    return [probe.state(NOT_ARMED, reason) for probe in probes if probe.target is not None]


def _let_both_see() -> None:
    time.sleep(1.5 * SLACK_NS / 1e9)


def _read(
    found: BootTime,
    ring: TextDecoder,
    lines: Sequence[str],
    counts: Mapping[str, tuple[int, int]],
    overrun: int,
) -> None:
    """Decode the events, and count those that are missing: the kernel counts every hit of an
    event, even if the ring lost it."""
    found.events = ring.events(lines)
    missing = sum(
        max(0, counts.get(name, (0, 0))[0] - ring.hits.get(name, 0)) for name in ring.names
    )
    found.lost = max(ring.lost, overrun, missing)
    for event in found.events:  # a loss that is not marked was at the start
        event.seq += found.lost - ring.lost


def _states(
    probes: Sequence[ResolvedProbe],
    matched: Sequence[Definition],
    found: BootTime,
    counts: Mapping[str, tuple[int, int]],
    live: LiveArming,
) -> list[ProbeState]:
    """Whether each probe that has a function was armed at boot."""
    loaded = {*live.loaded, *(event.module for event in found.events if event.kind == MODULE)}
    needed = Counter(live.needed)
    needed.update(one.listed for one in matched if one.number not in live.shared)
    of_probe: dict[int, list[Definition]] = {}
    for one in matched:
        of_probe.setdefault(one.number, []).append(one)
    out = []
    for number, probe in enumerate(probes):
        if probe.target is None:
            continue
        module, defined = probe.target.module, of_probe.get(number, [])
        whole = len(defined) == 1 + probe.point.returns
        hit = any(counts.get(one.name, (0, 0))[0] for one in defined)
        listed = is_listed((one.listed for one in defined), live.listed, needed)
        if module is not None and module not in loaded:
            out.append(probe.state(WAITING))
        elif whole and (hit or listed):
            missed = sum(counts.get(one.name, (0, 0))[1] for one in defined)
            out.append(probe.state(ARMED, missed=missed))
        elif probe.point.name == "bus_register" and "virtio" in live.builtin:
            out.append(probe.state(ABSENT, f"at boot: {cmdline.BUS_TOO_EARLY}"))
        else:
            why = ONLY_ACCEPTED if whole else _NOT_THERE
            out.append(probe.state(NOT_ARMED, f"at boot: {why}"))
    return out
