# SPDX-License-Identifier: GPL-2.0-or-later
"""Which probe points are armed, and how many events the trace ring lost: as the kernel says.

A definition that tracefs accepted is not armed yet: ``module:symbol`` may never resolve. What is
armed is in debugfs kprobes/list. Pure: texts in, states out.

See docs/decisions/0020.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.recording.probe_state import ARMED, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import ListKey

ONLY_ACCEPTED = "accepted, but not in the kernel's list of kprobes"
"""Why a point is not armed although its definition exists and its module is loaded."""

_LIST_LINE = re.compile(
    r"^[0-9a-f]+ +([kr]) +([^\s+]+)\+0x[04](?![0-9a-f])[ \t]*([\w-]*)(?!.*\[(?:GONE|DISABLED)\])",
    re.MULTILINE,
)
"""``ffffffffc0123450  k  virtnet_probe+0x0  virtio_net [FTRACE]``; with IBT, +0x4 is the entry."""

_LOSS = re.compile(
    r"(?:cpu[0-9]{1,9} )?(?:overrun|commit overrun|dropped events): *([0-9]{1,15})\s*"
)
"""Lines of per_cpu/cpuN/stats that count events which the ring overwrote or never had."""


def armed_in(text: str) -> Counter[ListKey]:
    """How often each function is armed, by the TEXT of kprobes/list. Only probes at its entry."""
    found = _LIST_LINE.findall(text)
    return Counter((kind, symbol, module or None) for kind, symbol, module in found)


def ring_losses(stats: Iterable[str]) -> int:
    """Events that the trace ring lost, by the lines of per_cpu/cpuN/stats of all processors. Each
    line may have its processor in front: ``cpu0 overrun: 5``."""
    found = (_LOSS.fullmatch(line) for line in stats)
    return sum(int(match[1]) for match in found if match)


def is_listed(
    keys: Iterable[ListKey], armed: Mapping[ListKey, int], needed: Mapping[ListKey, int]
) -> bool:
    """Whether all KEYS are in the kernel's list, as often as is needed for all who arm them."""
    return all(armed.get(key, 0) >= needed[key] for key in keys)


class ProbeStateTracker:
    """What became of each of PROBES while a recording runs.

    The caller keeps ``loaded``, the modules that are loaded, and, by the number of a probe,
    ``refused``, why it could not be armed, and ``armed_ns``, when it was armed if earlier calls may
    not be in the recording (CLOCK_MONOTONIC, nanoseconds).
    """

    def __init__(self, probes: Sequence[ResolvedProbe]) -> None:
        self._probes = probes
        self._confirmed: set[int] = set()
        self.refused: dict[int, str] = {}
        self.armed_ns: dict[int, int] = {}
        self.loaded: set[str] = set()

    def needed(self) -> Counter[ListKey]:
        """How often the kernel's list has each function if all probes are armed."""
        return Counter(
            key
            for number, probe in enumerate(self._probes)
            if number not in self.refused
            for key in probe.listed
        )

    def confirm(self, armed: Mapping[ListKey, int], hit: Iterable[int] = ()) -> None:
        """ARMED is the kernel's list now; HIT are the numbers of probes that had a hit.

        Once confirmed, a probe stays so: a module may come and go between two looks at the list,
        and a probe that was hit was armed.
        """
        needed = self.needed()
        for number, probe in enumerate(self._probes):
            keys = probe.listed
            if number not in self.refused and keys and is_listed(keys, armed, needed):
                self._confirmed.add(number)
        self._confirmed.update(hit)

    def follow(self, event: Event) -> bool:
        """Keep ``loaded`` up to date with an EVENT. True: a module is being loaded."""
        if event.kind == ev.MODULE:
            self.loaded.add(str(event.module))
            return True
        if event.probe == "do_init_module" and event.result and event.detail:
            self.loaded.discard(str(event.detail.name))  # its init failed: it is unloaded again
        return False

    def state(self, number: int, *, reason: str | None = None, missed: int = 0) -> ProbeState:
        """For the recording. REASON and MISSED are those of an armed probe."""
        probe = self._probes[number]
        if number in self.refused:
            return probe.state(NOT_ARMED, self.refused[number])
        if number in self._confirmed:
            return probe.state(ARMED, reason, missed, self.armed_ns.get(number))
        module = probe.target.module if probe.target else None
        if module is not None and module not in self.loaded:
            return probe.state(WAITING)
        return probe.state(NOT_ARMED, ONLY_ACCEPTED)
