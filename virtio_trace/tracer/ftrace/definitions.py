# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe table as kprobe events of tracefs, which need no BPF program.

A kernel's command line has 2,047 characters, so an event's name is its point's letter, and each
fetch argument has one letter, too (``fetchargs.py``). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from virtio_trace.kernel.files import machine as machines
from virtio_trace.tracer.ftrace.fetchargs import FetchArguments, Offsets
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import ListKey, Target


@dataclass(frozen=True, slots=True)
class Definition:
    """One kprobe event. ``name`` is unique among those made together; ``number`` is that of its
    point among the resolved ones; ``arguments`` are its fetch arguments."""

    name: str
    number: int
    point: ProbePoint
    target: Target
    returns: bool
    arguments: tuple[str, ...] = ()

    @property
    def listed(self) -> ListKey:
        """Its line in the kernel's list of kprobes once it is armed."""
        return self.target.list_key("r" if self.returns else "k")

    def command(self, group: str, maxactive: int = 0) -> str:
        """The line for kprobe_events. MAXACTIVE: calls that may be open at once, for a return."""
        active = str(maxactive) if self.returns and maxactive else ""
        kind = f"{'r' if self.returns else 'p'}{active}"
        return " ".join((f"{kind}:{group}/{self.name}", str(self.target), *self.arguments))

    def parameter(self, group: str) -> str:
        """The same in the syntax of the kernel parameter kprobe_event=."""
        return self.command(group).replace(" ", ",")


def definitions(
    probes: Iterable[ResolvedProbe], offsets: Offsets, machine: str, *, whole: bool = True
) -> list[Definition]:
    """The definitions of all probes that have a target, in their order, entry before return.

    WHOLE: every event describes its device, because a device that was there before the first event
    is not known otherwise. If false, only the events at which a device is created do, which is
    shorter. Empty if the registers of MACHINE (``uname -m``) are not known.
    """
    names: dict[str, int] = {}
    out: list[Definition] = []
    known = machines.by_name(machine)  # $argN is refused for a module that is not loaded yet
    registers = known.arguments if known else None
    for number, probe in enumerate(probes):
        point, target = probe.point, probe.target
        if target is None or registers is None:
            continue
        count = names[point.letter] = names.get(point.letter, -1) + 1
        name = f"{point.letter}{count or ''}"
        fetch = FetchArguments(point, target, offsets, registers, whole)
        for returns in _kinds(point):
            arguments = fetch.at_return() if returns else fetch.at_entry()
            title = name.upper() if returns else name
            out.append(Definition(title, number, point, target, returns, arguments))
    return out


def _kinds(point: ProbePoint) -> tuple[bool, ...]:
    """Which events to define: False is entry, True return. The entry is needed even if only the
    return makes an event, because it has the device."""
    if point.subject == shape.NOTHING:
        return (True,)
    return (False, True) if point.returns else (False,)
