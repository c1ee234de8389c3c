# SPDX-License-Identifier: GPL-2.0-or-later
"""Kprobe events in tracefs: define, confirm, count misses, remove; sweep what a dead recorder left.

Definitions go through tracefs and not through perf's own kprobe type, because only tracefs keeps
``module:symbol`` waiting for a module that is not loaded yet (kernel/trace/trace_kprobe.c).
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.points.target import Target

GROUP_PREFIX = "virtio_trace_"
MAXACTIVE = 64
"""Calls of one function that may be open at once, for kretprobes: many devices probe at a time."""

_REMOVE_SECONDS = 5.0


def group_name(pid: int) -> str:
    """The group of process PID's events: its pid and its start, as pids are used again."""
    return f"{GROUP_PREFIX}{pid}_{_start_time(pid)}"


class KprobeEvents:
    """The events of one recorder in one tracefs.

    Files are opened unbuffered for appending, as the kernel takes one command a write and
    Python's text mode seeks first.
    """

    def __init__(self, tracefs: Path, group: str) -> None:
        self._control = tracefs / "kprobe_events"
        self._profile = tracefs / "kprobe_profile"
        self.group = group

    def define(self, name: str, target: Target, returns: bool = True) -> None:
        """Define NAME (entry) and, with RETURNS, NAME_ret (return), or neither.

        Raises CannotTraceError with the kernel's word.
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
        """Event name to the hits that the kernel could not report, from kprobe_profile."""
        counts = event_counts(read(self._profile))
        return {name: missed for name, (_hits, missed) in counts.items()}

    def remove(self) -> None:
        """Remove every event of the group; busy ones are retried, their users may be dying."""
        remove_groups(self._control, lambda group: group == self.group)

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


def remove_groups(control: Path, which: Callable[[str], bool]) -> list[str]:
    """Remove all events of the groups for which WHICH(group) is true; returns those groups."""
    gone: set[str] = set()
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        left = [(g, n) for g, n in _defined(control) if which(g)]
        if not left:
            return sorted(gone)
        for group, name in left:
            gone.add(group)
            try:
                append(control, f"-:{group}/{name}")
                deadline = time.monotonic() + _REMOVE_SECONDS  # each takes its time; this one went
            except OSError as error:
                if time.monotonic() > deadline:
                    raise CannotTraceError(
                        f"tracefs event {group}/{name} cannot be removed: {error.strerror}",
                        "another tool uses it; end that, then run virtio-trace doctor",
                    ) from error
        time.sleep(0.01)


def sweep(tracefs: Path) -> list[str]:
    """Remove the events of recorders that are no more; returns their groups."""
    control = tracefs / "kprobe_events"
    return remove_groups(control, _is_orphan) if control.exists() else []


def armed_functions(debugfs: Path) -> Counter[tuple[str, str, str | None]]:
    """What the kernel has armed, from kprobes/list: how often ("k" or "r", symbol, module) is.

    Only probes at a function's entry. Raises CannotTraceError where the list cannot be read.
    """
    return armed_in(read(debugfs / "kprobes" / "list"))


def armed_in(text: str) -> Counter[tuple[str, str, str | None]]:
    """The same from the list's TEXT."""
    found = _LIST_LINE.findall(text)
    return Counter((kind, symbol, module or None) for kind, symbol, module in found)


# "ffffffffc0123450  k  virtnet_probe+0x0  virtio_net [FTRACE]"; with IBT the entry is at +0x4.
_LIST_LINE = re.compile(
    r"^[0-9a-f]+ +([kr]) +([^\s+]+)\+0x[04](?![0-9a-f])[ \t]*([\w-]*)(?!.*\[(?:GONE|DISABLED)\])",
    re.MULTILINE,
)
_COUNT = re.compile(r"[0-9]{1,19}")
_EVENT_LINE = re.compile(r"^[pr]\d*:(\w+)/(\S+) ", re.MULTILINE)


def _defined(control: Path) -> Iterable[tuple[str, str]]:
    return _EVENT_LINE.findall(read(control))


def _is_orphan(group: str) -> bool:
    match = re.fullmatch(rf"{GROUP_PREFIX}(\d+)_(\d+)", group)
    return match is not None and _start_time(int(match[1])) != match[2]


def _start_time(pid: int) -> str:
    """Clock ticks since boot at which PID started (proc(5), stat field 22); "0" for none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "0"
    return stat.rpartition(")")[2].split()[19]


def append(path: Path, command: str) -> None:
    """One write of one line; the kernel takes a command a write. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, command.encode() + b"\n")
    finally:
        os.close(descriptor)


def read(path: Path) -> str:
    """A file of tracefs or debugfs. Raises CannotTraceError."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CannotTraceError(
            f"cannot read {path}: {error.strerror}", "run as root: sudo virtio-trace ..."
        ) from error
