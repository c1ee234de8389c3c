# SPDX-License-Identifier: GPL-2.0-or-later
"""A Dask cluster on loopback, and matrices that run on it or here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 900
_COMMAND = (sys.executable, "-m", "virtio_trace", "matrix")


@dataclass(slots=True)
class Cluster:
    """A scheduler, and workers of one thread each."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def cluster(folder: Path, workers: Sequence[tuple[str, ...]] = ((), ())) -> Iterator[Cluster]:
    """A cluster whose files are in FOLDER; WORKERS are further options of each worker."""
    folder.mkdir(parents=True, exist_ok=True)
    where = folder / "scheduler.json"
    common = ("--scheduler-file", str(where), "--no-dashboard")
    started: list[subprocess.Popen[bytes]] = []

    def start(log: Any, module: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *common, *options]
        started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    try:
        with (folder / "cluster.log").open("wb") as log:
            scheduler = start(log, "dask_scheduler", "--host", "127.0.0.1", "--port", "0")
            until(where.exists, scheduler)
            found = []
            for number, more in enumerate(workers, 1):
                place = str(folder / f"worker-{number}")
                options = ("--nthreads", "1", "--no-nanny", "--local-directory", place, *more)
                found.append(start(log, "dask_worker", *options))
            address = json.loads(where.read_text("utf-8"))["address"]
            yield Cluster(address, scheduler, found)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def start(plan: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Starts a matrix of the plan PLAN, TOML; its files are in FOLDER, its results in out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.toml").write_text(plan, "utf-8")
    return subprocess.Popen(
        [*_COMMAND, str(folder / "plan.toml"), "-o", str(folder / "out"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def until(is_there: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Waits for something that happens while PROCESS runs."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_there():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """result.json of every case in FOLDER, by name."""
    found = {}
    for path in folder.glob("cases/*/*/*/result.json"):
        raw = json.loads(path.read_text("utf-8"))
        found[raw["name"]] = raw
    return found


def worker_pids(folder: Path) -> set[int]:
    """The processes of the workers that ran the cases in FOLDER."""
    return {int(raw["worker"].rpartition(":")[2]) for raw in results(folder).values()}
