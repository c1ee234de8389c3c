# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of each probe point in a guest without an agent: from the lists that it prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from virtio_trace.recording.probe_state import ProbeState
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.ftrace.confirm import ProbeStateTracker, armed_in
from virtio_trace.tracer.ftrace.definitions import Definition
from virtio_trace.tracer.points.resolve import ResolvedProbe

LATE = "armed when user space began: it is not on the kernel's command line"
_REASON = "# "
_COUNT = re.compile(r"[0-9]{1,15}")


class GuestProbeStates:
    """The states of PROBES. LINE was armed at the kernel's start, LATE by the guest's script."""

    def __init__(
        self, probes: Sequence[ResolvedProbe], line: BootLine, late: Iterable[Definition]
    ) -> None:
        self.tracker = ProbeStateTracker(probes)
        self._count = len(probes)
        late = tuple(late)
        self._late = [one.number for one in late]
        self._number_of = {one.name: one.number for one in (*line.armed, *late)}
        self._left = {one.number for one in line.left}
        self._missed: dict[str, int] = {}

    def refuse(self, lines: Iterable[str], commands: Sequence[str]) -> None:
        """LINES has each of the late COMMANDS that tracefs refused, followed by "# " and why."""
        numbers = dict(zip(commands, self._late, strict=True))
        last: int | None = None
        for line in lines:
            if not line.startswith(_REASON):
                last = numbers.get(line)
                if last is not None:
                    self.tracker.refused[last] = "tracefs refused it"
            elif last is not None:
                self.tracker.refused[last] = f"tracefs refused it: {line.removeprefix(_REASON)}"

    def listed(self, text: str) -> None:
        """TEXT is the guest's kprobes/list at this time."""
        self.tracker.confirm(armed_in(text))

    def armed_late(self, ns: int | None) -> None:
        """The guest's script had armed its part at NS, nanoseconds; None: unknown."""
        if ns is not None:
            self.tracker.armed_ns.update(dict.fromkeys(self._left, ns))

    def profile(self, lines: Iterable[str]) -> None:
        """LINES of kprobe_profile: an event's name, its hits, and those that were missed."""
        for line in lines:
            name, *counts = line.split() or [""]
            if len(counts) == 2 and _COUNT.fullmatch(counts[1]):
                self._missed[name] = int(counts[1])

    def states(self, hits: Mapping[str, int]) -> list[ProbeState]:
        """One for each probe. HITS counts the events of each name so far."""
        hit = {self._number_of[name] for name in hits if name in self._number_of}
        self.tracker.confirm({}, hit)
        missed: Counter[int] = Counter()
        for name, count in self._missed.items():
            if name in self._number_of:
                missed[self._number_of[name]] += count
        return [
            self.tracker.state(
                number, reason=LATE if number in self._left else None, missed=missed[number]
            )
            for number in range(self._count)
        ]
