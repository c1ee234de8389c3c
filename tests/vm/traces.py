# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds what recorders leave in a kernel, from inside a guest: tracefs, debugfs, /proc.

The boot's own recorder was there before this was imported; it must survive everything. Sent into
the guest with inside.py, so it imports only the standard library.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRACEFS = Path("/sys/kernel/tracing")
KPROBES = Path("/sys/kernel/debug/kprobes/list")
PATIENCE = 300.0
"""Seconds. A recorder compiles its program in ten, and on a busy host in a minute and more."""


def groups() -> list[str]:
    """The groups of our recorders that tracefs knows; vtx is that of the boot's own."""
    found = re.findall(r":(virtio_trace_\w+|vtx)/", (TRACEFS / "kprobe_events").read_text("utf-8"))
    return sorted(set(found))


def events_of(group: str) -> int:
    return (TRACEFS / "kprobe_events").read_text("utf-8").count(f":{group}/")


def armed() -> list[str]:
    """Every kprobe that the kernel has, without its address."""
    return sorted(" ".join(line.split()[1:]) for line in KPROBES.read_text("utf-8").splitlines())


def recorders() -> list[int]:
    """The processes that are recorders, or children forked from one."""
    lines = ((path, _cmdline(path)) for path in Path("/proc").glob("[0-9]*/cmdline"))
    return sorted(
        int(path.parent.name) for path, line in lines if b"\0virtio_trace\0record\0" in line
    )


def _cmdline(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def _outer() -> int:
    """The boot's own recorder: its name begins with @ (tracer/executor/first.py)."""
    lines = ((path, _cmdline(path)) for path in Path("/proc").glob("[0-9]*/cmdline"))
    (found,) = (int(path.parent.name) for path, line in lines if line.startswith(b"@"))
    return found


OUTER = _outer()
OUTER_GROUPS, OUTER_ARMED, OUTER_RECORDERS = groups(), armed(), recorders()


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Whether CONDITION came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def clean() -> bool:
    """Whether everything is as it was before the first scenario."""
    return (groups(), armed(), recorders()) == (OUTER_GROUPS, OUTER_ARMED, OUTER_RECORDERS)


def left(patience: float = 0.0) -> dict[str, Any]:
    """What should not be left."""
    wait_for(clean, patience)
    return {
        "groups": sorted(set(groups()) ^ set(OUTER_GROUPS)),
        "armed": [*(set(armed()) ^ set(OUTER_ARMED)), len(armed()) - len(OUTER_ARMED)],
        "recorders": sorted(set(recorders()) ^ set(OUTER_RECORDERS)),
    }
