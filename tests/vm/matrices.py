# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs matrices of real guests: on this machine, and on a Dask cluster of two workers on loopback,
of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vm.guest import COMMAND

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
        found = {}
        for path in self.folder.glob("cases/*/*/*/result.json"):
            raw = json.loads(path.read_text("utf-8"))
            found[raw["name"]] = raw
        return found

    def case_lines(self) -> list[str]:
        """The names of the cases, as they were printed."""
        return [line.split()[1] for line in self.lines if line[:7].strip() in WORDS]


WORDS = ("ok", "FAILED", "ERROR")


def interrupted(plan: str, folder: Path, *options: str) -> Matrix:
    """Runs PLAN, ends it with Ctrl-C once a case is done, and goes on with --resume."""
    first = _start(plan, folder, *options)
    before = [first.stdout.readline()] if first.stdout else []
    _until(lambda: any((folder / "out").glob("cases/*/*/*.part")), first)
    first.send_signal(signal.SIGINT)
    rest, stderr = first.communicate(timeout=_PATIENCE_SECONDS)
    assert "Traceback" not in stderr, stderr
    before += rest.splitlines(keepends=True)
    done = _start(plan, folder, *options, "--resume")
    out, stderr = done.communicate(timeout=_PATIENCE_SECONDS)
    return Matrix(
        folder / "out", done.returncode, out.splitlines(), stderr, first.returncode, before
    )


def with_a_death(plan: str, folder: Path) -> Matrix:
    """Runs PLAN on two workers, and kills one of them while its guest runs."""
    with _cluster(folder) as (address, workers):
        process = _start(plan, folder, "--scheduler", address)
        victim = workers[0].pid
        _until(lambda: any(_is_qemu(pid) for pid in _descendants(victim)), process)
        its = [pid for pid in _descendants(victim) if _is_qemu(pid)]
        os.kill(victim, signal.SIGKILL)
        workers[0].wait()
        out, stderr = process.communicate(timeout=_PATIENCE_SECONDS)
        orphans = [pid for pid in its if _is_qemu(pid)]
    return Matrix(
        folder / "out", process.returncode, out.splitlines(), stderr, killed=victim, orphans=orphans
    )


def _start(plan: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(plan, "utf-8")
    command = [*COMMAND, "matrix", str(folder / "plan.toml"), "-o", str(folder / "out"), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers of one thread each; its address, and the workers."""
    folder.mkdir(parents=True, exist_ok=True)
    where = folder / "scheduler.json"
    common = ["--scheduler-file", str(where), "--no-dashboard"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "cluster.log").open("wb") as log:
            started.append(
                _python(log, "dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common)
            )
            _until(where.exists, started[0])
            for number in (1, 2):
                place = folder / f"worker-{number}"
                more = ("--nthreads", "1", "--no-nanny", "--local-directory", str(place))
                started.append(_python(log, "dask_worker", *common, *more))
            yield json.loads(where.read_text("utf-8"))["address"], started[1:]
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def _python(log: Any, module: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *options]
    return subprocess.Popen(command, stdout=log, stderr=log)


def _until(is_there: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_there():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
