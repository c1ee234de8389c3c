# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel parameters that make a kernel record its own early boot, as far as they fit. Pure.

See docs/decisions/0016.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from virtio_trace.kernel.files.machine import MACHINES
from virtio_trace.tracer.ftrace.definitions import Definition
from virtio_trace.tracer.points import table
from virtio_trace.virtio import transports

GROUP = "vt"
"""The group of boot-time events; short, because every definition repeats it."""

CMDLINE_MAX = max(machine.command_line for machine in MACHINES)
"""Characters of the longest kernel command line; a machine's record has its own."""

SWITCHES = "trace_clock=mono trace_event=module:module_load"
"""The clock of all recordings, and the events of modules. Any trace_event= also makes the kernel
allocate the whole ring at once (1.4 MB per processor instead of 7 KB)."""

PARAMETERS = ("trace_clock", "trace_event", "kprobe_event")
"""The names of all parameters in a BootLine."""

_EVENT = " kprobe_event="

BUS_TOO_EARLY = "the kernel registers its bus before it arms events (core_initcall)"


@dataclass(frozen=True, slots=True)
class BootLine:
    """What goes on the command line. ``text`` is empty if nothing fits; ``left`` are the
    definitions for which there was no room."""

    text: str
    armed: list[Definition]
    left: list[Definition]


COMMON = ("virtio_net", "virtio_blk", "virtio_scsi", "virtio_rng", "virtio_balloon")
"""The modules of drivers for devices that most machines have."""


def boot_line(
    definitions: Iterable[Definition], room: int, prefer: Collection[str] = COMMON
) -> BootLine:
    """The parameters, at most ROOM characters; a point's entry and return go in together.

    Drivers in modules, and transports that few machines have, come last unless PREFER names their
    modules. There is one kprobe_event=, because before Linux 7 only the last of several counts.
    """
    calls: dict[int, list[Definition]] = {}
    for one in definitions:
        calls.setdefault(one.number, []).append(one)
    ordered = sorted(calls.values(), key=lambda call: _rank(call[0], prefer))
    group = GROUP
    left_room = room - len(SWITCHES) - len(_EVENT) + 1
    armed: list[Definition] = []
    left: list[Definition] = []
    for call in ordered:
        size = sum(len(one.parameter(group)) + 1 for one in call)
        if size <= left_room:
            left_room -= size
            armed += call
        else:
            left += call
    text = f"{SWITCHES}{_EVENT}{';'.join(one.parameter(group) for one in armed)}" if armed else ""
    return BootLine(text, armed, left)


def _rank(one: Definition, prefer: Collection[str]) -> tuple[bool, int]:
    module, name = one.target.module, one.point.name
    transport = transports.BY_MODULE.get(module or "")
    of_driver = module is not None and name in (table.DRIVER_PROBE, table.DRIVER_VALIDATE)
    rare = of_driver or (transport is not None and not transport.common)
    return rare and module not in prefer, one.point.priority


def worth_arming(
    definitions: Sequence[Definition], builtin: Iterable[str], *, modules: bool
) -> list[Definition]:
    """Those that can have a hit at boot: a built-in bus is registered before events are armed.

    MODULES: also those in modules, and of what only happens once user space has started.
    """
    over = {"bus_register"} if "virtio" in builtin else set()
    return [
        one
        for one in definitions
        if (modules or (one.target.module is None and not one.point.user_space))
        and one.point.name not in over
    ]


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of kprobe_events, in its parts."""

    name: str
    returns: bool
    target: str
    arguments: tuple[str, ...]


_LISTED = re.compile(r"^([pr])\d*:(\S+?)/(\S+) (\S+)(.*)$", re.MULTILINE)
_PLUS = re.compile(r"\+(?:0x([0-9a-f]{1,16})|([0-9]{1,19}))$")


def listed(kprobe_events: str, group: str = GROUP) -> list[Listed]:
    """The events of GROUP in the text of kprobe_events, in their order there."""
    return [
        Listed(name, kind == "r", _target(target), tuple(rest.split()))
        for kind, where, name, target, rest in _LISTED.findall(kprobe_events)
        if where == group
    ]


def match(
    events: Iterable[Listed], definitions: Iterable[Definition]
) -> tuple[list[Definition], list[Listed]]:
    """Match EVENTS with DEFINITIONS: those that were found, under the events' names, and the
    foreign events, which were made for another kernel.

    Target and arguments must be the same: with another kernel's, an event reads nonsense.
    """
    known = {(one.returns, _target(str(one.target)), one.arguments): one for one in definitions}
    matched, foreign = [], []
    for event in events:
        one = known.get((event.returns, event.target, event.arguments))
        if one is None:
            foreign.append(event)
        else:
            matched.append(replace(one, name=event.name))
    return matched, foreign


def _target(text: str) -> str:
    """As the kernel prints a target: its offset is decimal (trace_kprobe.c, trace_kprobe_show)."""
    return _PLUS.sub(lambda match: f"+{int(match[1], 16) if match[1] else int(match[2])}", text)
