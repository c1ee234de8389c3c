# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs matrices of real guests: on this machine, and on a Dask cluster of two workers on loopback,
of which one is killed."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import cluster, results, start, until

_PATIENCE_SECONDS = 900


@dataclass(slots=True)
class Matrix:
    """A matrix that was run. ``lines`` is its standard output; ``killed`` the process that was
    killed, and ``orphans`` those of its processes that were left."""

    folder: Path
    status: int
    lines: list[str]
    stderr: str
    interrupted: int | None = None
    before: list[str] = field(default_factory=list)
    killed: int = 0
    orphans: list[int] = field(default_factory=list)

    def results(self) -> dict[str, dict[str, Any]]:
        """result.json of every case, by name."""
        return results(self.folder)

    def case_lines(self) -> list[str]:
        """The names of the cases, as they were printed."""
        return [line.split()[1] for line in self.lines if line[:7].strip() in WORDS]


WORDS = ("ok", "FAILED", "ERROR")


def interrupted(plan: str, folder: Path, *options: str) -> Matrix:
    """Runs PLAN, ends it with Ctrl-C once a case is done, and goes on with --resume."""
    first = start(plan, folder, *options)
    before = [first.stdout.readline()] if first.stdout else []
    until(lambda: any((folder / "out").glob("cases/*/*/*.part")), first)
    first.send_signal(signal.SIGINT)
    rest, stderr = first.communicate(timeout=_PATIENCE_SECONDS)
    assert "Traceback" not in stderr, stderr
    before += rest.splitlines(keepends=True)
    done = start(plan, folder, *options, "--resume")
    out, stderr = done.communicate(timeout=_PATIENCE_SECONDS)
    return Matrix(
        folder / "out", done.returncode, out.splitlines(), stderr, first.returncode, before
    )


def with_a_death(plan: str, folder: Path) -> Matrix:
    """Runs PLAN on two workers, and kills one of them while its guest runs."""
    with cluster(folder) as found:
        process = start(plan, folder, "--scheduler", found.address)
        victim = found.workers[0].pid
        until(lambda: any(_is_qemu(pid) for pid in _descendants(victim)), process)
        its = [pid for pid in _descendants(victim) if _is_qemu(pid)]
        os.kill(victim, signal.SIGKILL)
        found.workers[0].wait()
        out, stderr = process.communicate(timeout=_PATIENCE_SECONDS)
        orphans = [pid for pid in its if _is_qemu(pid)]
    return Matrix(
        folder / "out", process.returncode, out.splitlines(), stderr, killed=victim, orphans=orphans
    )


def _descendants(pid: int) -> list[int]:
    found, queue = [], [pid]
    while queue:
        for path in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            try:
                children = [int(child) for child in path.read_text("ascii").split()]
            except OSError:
                continue
            found += children
            queue += children
    return found


def _is_qemu(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").startswith("qemu-system")
    except OSError:
        return False
