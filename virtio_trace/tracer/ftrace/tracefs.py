# SPDX-License-Identifier: GPL-2.0-or-later
"""Kprobe events in tracefs: define, count misses, remove.

Definitions go through tracefs, not perf's kprobe type, because only tracefs lets ``module:symbol``
wait for a module that is not loaded yet (kernel/trace/trace_kprobe.c).
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.ftrace.confirm import armed_in
from virtio_trace.tracer.points.target import ListKey, Target

GROUP_PREFIX = "virtio_trace_"
MAXACTIVE = 64
"""Open calls of one function that a kretprobe follows: many devices may be probed at once."""

_COUNT = re.compile(r"[0-9]{1,19}")
_REMOVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Busy:
    """An event that could not be removed, and the kernel's reason."""

    group: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Removal:
    """``groups``: those of which nothing is left. ``busy``: the events that are left."""

    groups: list[str]
    busy: list[Busy]

    def require(self) -> None:
        """Raises CannotTraceError if something is left."""
        for one in self.busy:
            raise CannotTraceError(
                f"tracefs event {one.group}/{one.name} cannot be removed: {one.reason}",
                "another tool uses it: stop that, then run virtio-trace doctor",
            )


class KprobeEvents:
    """The events of one recorder in one tracefs.

    Files are opened unbuffered for appending: the kernel takes one command per write, and Python's
    text mode seeks first.
    """

    def __init__(self, tracefs: Path, group: str) -> None:
        self._control = tracefs / "kprobe_events"
        self._profile = tracefs / "kprobe_profile"
        self.group = group

    def define(self, name: str, target: Target, returns: bool = True) -> None:
        """Define NAME (entry) and, with RETURNS, NAME_ret (return); both or neither.

        Raises CannotTraceError if the kernel refuses.
        """
        self._write(f"p:{self.group}/{name} {target}")
        if not returns:
            return
        try:
            self._write(f"r{MAXACTIVE}:{self.group}/{name}_ret {target}")
        except CannotTraceError:
            self._write(f"-:{self.group}/{name}")
            raise

    def missed(self) -> dict[str, int]:
        """Event name to hits that the kernel could not report, from kprobe_profile."""
        counts = event_counts(read(self._profile))
        return {name: missed for name, (_hits, missed) in counts.items()}

    def remove(self) -> None:
        """Remove every event of the group; retry busy ones, whose users may be exiting.

        Raises CannotTraceError if one stays busy.
        """
        remove_groups(self._control, lambda group: group == self.group).require()

    def _write(self, command: str) -> None:
        try:
            append(self._control, command)
        except OSError as error:
            raise CannotTraceError(f"tracefs refused '{command}': {error.strerror}") from error


def event_counts(profile: str) -> dict[str, tuple[int, int]]:
    """Event name to (hits, hits that the kernel could not report), from kprobe_profile's text."""
    counts = {}
    for line in profile.splitlines():
        fields = line.split()
        if len(fields) >= 3 and all(map(_COUNT.fullmatch, fields[-2:])):
            counts[fields[-3]] = (int(fields[-2]), int(fields[-1]))
    return counts


def remove_groups(control: Path, which: Callable[[str], bool]) -> Removal:
    """Remove all events of the groups for which WHICH(group) is true.

    A dead process's perf events are released one by one, each after an RCU grace period. Until then
    the event is busy: all are tried again until none could be removed for five seconds.

    Raises CannotTraceError if CONTROL cannot be read.
    """
    found: set[str] = set()
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        busy = []
        for group, name in _defined(control):
            if not which(group):
                continue
            found.add(group)
            try:
                append(control, f"-:{group}/{name}")
                deadline = time.monotonic() + _REMOVE_SECONDS
            except OSError as error:
                busy.append(Busy(group, name, error.strerror or str(error)))
        if not busy or time.monotonic() > deadline:
            return Removal(sorted(found - {one.group for one in busy}), busy)
        time.sleep(0.01)


def groups_in(control: Path) -> set[str]:
    """The groups in kprobe_events. Raises CannotTraceError."""
    return {group for group, _name in _defined(control)}


def armed_functions(debugfs: Path) -> Counter[ListKey]:
    """How often each function is armed now, by the kernel's list of kprobes.

    Raises CannotTraceError if the list cannot be read.
    """
    return armed_in(read(debugfs / "kprobes" / "list"))


_EVENT_LINE = re.compile(r"^[pr]\d*:(\w+)/(\S+) ", re.MULTILINE)


def _defined(control: Path) -> Iterable[tuple[str, str]]:
    return _EVENT_LINE.findall(read(control))


def append(path: Path, command: str) -> None:
    """Write one line in one write: the kernel takes one command per write. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, command.encode() + b"\n")
    finally:
        os.close(descriptor)


def read(path: Path) -> str:
    """The text of a file of tracefs or debugfs. Raises CannotTraceError."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CannotTraceError(
            f"cannot read {path}: {error.strerror}", "run as root: sudo virtio-trace ..."
        ) from error
