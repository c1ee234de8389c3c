# SPDX-License-Identifier: GPL-2.0-or-later
"""Removes what recorders left in tracefs that were killed, and says what holds the rest.

A group's name has its recorder's pid and start time. A recorder that is ending, or is a zombie, has
both in /proc until its parent has waited for it, but it is dead: it will remove nothing any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.ftrace.tracefs import GROUP_PREFIX, Busy, groups_in, read, remove_groups

_PROC = Path("/proc")
_PF_EXITING = 0x4  # include/linux/sched.h
_SIGKILL = 1 << 8
_PERF_EVENT = "anon_inode:[perf_event]"  # kernel/events/core.c, perf_event_open()


@dataclass(frozen=True, slots=True)
class Swept:
    """``removed``: the groups that are gone. ``kept``: a line for each group that is not."""

    removed: list[str]
    kept: list[str]


def group_name(pid: int) -> str:
    """The group of process PID's events: its pid and start time, because pids are reused.

    Raises CannotTraceError if there is no such process.
    """
    start = _start_time(pid)
    if start is None:
        raise CannotTraceError(f"{_PROC}/{pid}/stat cannot be read", "mount -t proc proc /proc")
    return f"{GROUP_PREFIX}{pid}_{start}"


def sweep(tracefs: Path) -> Swept:
    """Remove the events of recorders that no longer run.

    Raises CannotTraceError if tracefs cannot be read.
    """
    control = tracefs / "kprobe_events"
    if not control.exists():
        return Swept([], [])
    removal = remove_groups(control, _is_orphan)
    by_group: dict[str, list[Busy]] = {}
    for one in removal.busy:
        by_group.setdefault(one.group, []).append(one)
    kept = [_kept(tracefs, group, busy) for group, busy in by_group.items()]
    return Swept(removal.groups, kept)


def _is_orphan(group: str) -> bool:
    owner = _owner(group)
    return owner is not None and _start_time(owner[0]) != owner[1]


def _owner(group: str) -> tuple[int, str] | None:
    """The pid and start time in GROUP's name; None: it is not a recorder's."""
    match = re.fullmatch(rf"{GROUP_PREFIX}([0-9]+)_([0-9]+)", group)
    return (int(match[1]), match[2]) if match else None


def _start_time(pid: int, *, dying: bool = False) -> str | None:
    """Clock ticks from boot to the start of PID. None: no such process or, unless DYING, it has
    been killed, is ending, or is a zombie.

    Source: proc(5), /proc/PID/stat.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = ["", "", "", *stat.rpartition(")")[2].split()]  # numbered as in proc(5)
    state, flags, start, pending = fields[3], int(fields[9]), fields[22], int(fields[31])
    dead = state in "ZX" or flags & _PF_EXITING or pending & _SIGKILL
    return start if dying or not dead else None


def _kept(tracefs: Path, group: str, busy: list[Busy]) -> str:
    """Which events of GROUP are still there, and by what."""
    names = f"{group}/{busy[0].name}"
    if len(busy) > 1:
        names += f" and {len(busy) - 1} more of its events"
    users = sorted({user for one in busy for user in _enabled_in(tracefs, one)})
    found = "; ".join(users) or _perf_users(tracefs, group)
    return f"{names} cannot be removed: {busy[0].reason}: {found}"


def _enabled_in(tracefs: Path, event: Busy) -> Iterator[str]:
    """The trace instances in which EVENT is enabled, or has a trigger."""
    for instance in (tracefs, *sorted((tracefs / "instances").glob("*"))):
        folder = instance / "events" / event.group / event.name
        try:
            enabled = read(folder / "enable").strip() != "0"
        except CannotTraceError:
            continue
        if enabled:
            yield f"enabled in {instance}"


def _perf_users(tracefs: Path, group: str) -> str:
    """The processes that may hold events of GROUP by perf events. The kernel does not tell of which
    event a perf event is; those of a recorder that runs are its own."""
    owner = _owner(group)
    if owner and _start_time(owner[0], dying=True) == owner[1]:
        return f"its recorder, process {owner[0]}, has not ended yet"
    running = {each[0] for each in map(_owner, groups_in(tracefs / "kprobe_events")) if each}
    holders = []
    for process in sorted(_PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) not in running and _has_perf_events(process):
            holders.append(f"{_name(process)} ({process.name})")
    if holders:
        return f"perf events are open in {', '.join(holders)}"
    return "what uses it is not known"


def _has_perf_events(process: Path) -> bool:
    try:
        return any(str(link.readlink()) == _PERF_EVENT for link in (process / "fd").iterdir())
    except OSError:  # it ended
        return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process"
