# SPDX-License-Identifier: GPL-2.0-or-later
"""How many guests this machine carries at once: by its processors, and by its free memory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from virtio_trace.vm.qemu import process

_OVERHEAD = 256
"""MiB that QEMU and our own processes take beside the guest's memory."""
_CGROUP = Path("/sys/fs/cgroup")


def jobs(processors: int | None = None, memory: int | None = None) -> int:
    """Guests at once, at least one: one a processor, as long as MEMORY (MiB) lasts. By default what
    this process may use: a container's limits count."""
    processors = _processors() if processors is None else processors
    memory = _memory() if memory is None else memory
    return max(min(processors, memory // (process.MEMORY + _OVERHEAD)), 1)


def _processors() -> int:
    """By affinity and by cpu.max of the control group (Documentation/admin-guide/cgroup-v2.rst)."""
    found = len(os.sched_getaffinity(0))
    quota = re.fullmatch(r"(\d+) (\d+)\s*", _read(_CGROUP / "cpu.max"))
    if quota:
        found = min(found, max(int(quota[1]) // int(quota[2]), 1))
    return found


def _memory() -> int:
    """MiB: MemAvailable of proc_meminfo(5), and what the control group has left."""
    free = re.search(r"^MemAvailable:\s+(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE)
    found = int(free[1]) >> 10 if free else 0
    most, now = (_read(_CGROUP / f"memory.{name}").strip() for name in ("max", "current"))
    if most.isdigit() and now.isdigit():
        found = min(found, (int(most) - int(now)) >> 20)
    return max(found, 0)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
