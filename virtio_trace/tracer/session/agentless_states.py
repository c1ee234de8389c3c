# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of each probe point in a guest that has no agent: from the lists that it hands out.

As session.py does on its own machine: accepted is not armed, so the kernel's own list of kprobes
is believed, and what was hit was armed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from virtio_trace.recording.header import ARMED, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.ftrace.fetchargs import Definition
from virtio_trace.tracer.ftrace.tracefs import armed_in
from virtio_trace.tracer.points.resolve import Settled

LATE = "armed when user space began: it is not on the kernel's command line"
_REASON = "# "
_COUNT = re.compile(r"[0-9]{1,15}")


class States:
    """SETTLED are the points; LINE is what was armed from the kernel's start on, LATE what the
    guest's script armed. ``came``: the modules that were loaded so far; ``late_ns``: when the
    guest's script had armed the latter."""

    def __init__(
        self, settled: Sequence[Settled], line: BootLine, late: Iterable[Definition]
    ) -> None:
        self._settled = settled
        self._early = {one.name: one.number for one in line.armed}
        self._late = {one.name: one.number for one in late}
        self._left = {one.number for one in line.left}
        self._refused: dict[int, str] = {}
        self._confirmed: set[int] = set()
        self._missed: dict[str, int] = {}
        self.came: set[str] = set()
        self.late_ns: int | None = None

    def refuse(self, lines: Iterable[str], commands: Sequence[str]) -> None:
        """LINES: each of the late COMMANDS that tracefs refused, then why, behind "# "."""
        numbers = dict(zip(commands, self._late.values(), strict=True))
        last: int | None = None
        for line in lines:
            if not line.startswith(_REASON):
                last = numbers.get(line)
                if last is not None:
                    self._refused[last] = "tracefs refused it"
            elif last is not None:
                self._refused[last] = f"tracefs refused it: {line.removeprefix(_REASON)}"

    def listed(self, text: str) -> None:
        """TEXT is the kernel's kprobes/list, now."""
        armed = armed_in(text)
        keys = {n: s.listed for n, s in enumerate(self._settled) if n not in self._refused}
        needed = Counter(key for found in keys.values() for key in found)
        for number, found in keys.items():
            if found and all(armed[key] >= needed[key] for key in found):
                self._confirmed.add(number)

    def profile(self, lines: Iterable[str]) -> None:
        """LINES of kprobe_profile: an event's name, its hits, and those that were missed."""
        for line in lines:
            name, *counts = line.split() or [""]
            if len(counts) == 2 and _COUNT.fullmatch(counts[1]):
                self._missed[name] = int(counts[1])

    def states(self, hits: Mapping[str, int]) -> list[ProbeState]:
        """One for each point. HITS: by an event's name, how many there were of it."""
        names = {**self._early, **self._late}
        hit = {names[name] for name in hits if name in names}
        missed: Counter[int] = Counter()
        for name, count in self._missed.items():
            if name in names:
                missed[names[name]] += count
        return [
            self._state(settled, number, number in hit, missed[number])
            for number, settled in enumerate(self._settled)
        ]

    def _state(self, settled: Settled, number: int, hit: bool, missed: int) -> ProbeState:
        target = settled.target
        if number in self._refused:
            return settled.state(NOT_ARMED, self._refused[number])
        if number in self._confirmed or hit:
            if number not in self._left:
                return settled.state(ARMED, missed=missed)
            return settled.state(ARMED, LATE, missed, self.late_ns)
        if target is not None and target.module is not None and target.module not in self.came:
            return settled.state(WAITING)
        return settled.state(NOT_ARMED, "accepted, but not in the kernel's list of kprobes")
