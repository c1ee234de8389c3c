# SPDX-License-Identifier: GPL-2.0-or-later
"""Imports recordings into a lake: a pool of processes reads them, this one writes.

At most a batch of rows, and a few chunks for each process, are in memory at a time.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from itertools import islice
from pathlib import Path

from virtio_trace.errors import IncompleteError
from virtio_trace.fleet import parquet, worker
from virtio_trace.fleet.lake import Lake, temporary
from virtio_trace.fleet.rows import Row
from virtio_trace.fleet.schema import TABLES, place
from virtio_trace.fleet.sources import Found
from virtio_trace.fleet.worker import Chunk

_CHUNK = 20
"""Recordings that a process reads at a time."""

_AHEAD = 3
"""Chunks for each process that were begun and not taken."""

_BATCH_BOOTS = 1000
_BATCH_ROWS = 250_000
"""A batch is committed when it has so many of either."""

_DAY = 1
"""The index of column day, which each table has."""


@dataclass(slots=True)
class Imported:
    """What an import did. ``damaged``: a line for each recording that could not be read."""

    boots: int = 0
    known: int = 0
    damaged: list[str] = field(default_factory=list)


def import_recordings(
    lake: Lake,
    found: Iterator[Found],
    jobs: int,
    progress: Callable[[Imported], None],
) -> Imported:
    """Import the recordings FOUND into LAKE with JOBS processes. PROGRESS is called after each
    chunk. Raises BadInputError if the lake is damaged, IncompleteError if a process is killed or
    the disk is full; what was committed stays."""
    done = Imported()
    with tempfile.TemporaryDirectory(prefix="virtio-trace-") as folder:
        known = Path(folder) / "known"
        with lake.locked():
            lake.sweep()
            commits = lake.commits()
            boots = [path for commit in commits for path in lake.of_commit(commit, "boots")]
        known.write_bytes(parquet.sorted_ids(boots))
        batch = _Batch(lake, set(commits), done)
        for chunk in _chunks(found, known, jobs):
            done.known += chunk.known
            done.damaged += chunk.damaged
            batch.add(chunk)
            progress(done)
        batch.commit()
    return done


def _chunks(found: Iterator[Found], known: Path, jobs: int) -> Iterator[Chunk]:
    """What the pool makes of FOUND, in order. Raises IncompleteError."""
    context = multiprocessing.get_context("spawn")  # a fork would copy pyarrow's threads' locks
    others = multiprocessing.active_children()  # of whoever called us
    pool = ProcessPoolExecutor(jobs, context, worker.start, (known,))
    begun: deque[Future[Chunk]] = deque()
    try:
        while True:
            while len(begun) < jobs * _AHEAD and (some := list(islice(found, _CHUNK))):
                begun.append(pool.submit(worker.read, some))
            if not begun:
                return
            yield begun.popleft().result()
    except BrokenProcessPool as error:
        raise IncompleteError(
            "a process of the import was killed", "import again: what is in the lake is skipped"
        ) from error
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()  # it may wait for a file for ever
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Batch:
    """Rows that are to be committed. SEEN: the commits whose boots the workers know."""

    def __init__(self, lake: Lake, seen: set[Path], done: Imported) -> None:
        self._lake, self._seen, self._done = lake, seen, done
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._boots: dict[str, None] = {}
        self._committed: set[str] = set()

    def add(self, chunk: Chunk) -> None:
        """Add CHUNK. Commit if there are enough."""
        twice = {boot for boot in chunk.boots if boot in self._boots}
        for table, rows in chunk.rows.items():
            self._rows[table] += [row for row in rows if row[0] not in twice] if twice else rows
        self._boots |= dict.fromkeys(chunk.boots)
        self._done.known += len(twice)
        size = sum(map(len, self._rows.values()))
        if len(self._boots) >= _BATCH_BOOTS or size >= _BATCH_ROWS:
            self.commit()

    def commit(self) -> None:
        """Write and commit the batch, without boots that were committed since the import began, by
        this import or by another one."""
        with self._lake.locked():
            there = self._others()
            boots = [boot for boot in self._boots if boot not in there]
            self._done.known += len(self._boots) - len(boots)
            if boots:
                name = sha256("".join(sorted(boots)).encode()).hexdigest()[:16]
                try:
                    self._lake.commit(name, self._write(name, there))
                except OSError as error:
                    raise IncompleteError(
                        f"{self._lake.folder}: cannot write: {error.strerror or error}",
                        "make room, then import again: what is in the lake is skipped",
                    ) from error
                self._done.boots += len(boots)
        self._clear()

    def _others(self) -> set[str]:
        """Those of the batch's boots that are in commits which the workers did not know."""
        found: set[str] = set()
        for commit in self._lake.commits():
            if commit not in self._seen:
                for path in self._lake.of_commit(commit, "boots"):
                    found |= parquet.ids(path) & self._boots.keys()
        return found

    def _write(self, name: str, without: set[str]) -> dict[Path, Path]:
        """Write the rows to temporary files; the final path of each. Each table has a file, so that
        it can be read."""
        written = {}
        any_month = next(_month(row[_DAY]) for row in self._rows["boots"] if row[0] not in without)
        for table, rows in self._rows.items():
            by_month: dict[str, list[Row]] = {}
            for row in sorted(rows, key=_order(table)):
                if row[0] not in without:
                    by_month.setdefault(_month(row[_DAY]), []).append(row)
            for month, some in (by_month or {any_month: []}).items():
                final = self._lake.folder / table / f"month={month}" / f"{name}.parquet"
                final.parent.mkdir(exist_ok=True)
                parquet.write(temporary(final), table, some)
                written[temporary(final)] = final
        return written


def _month(day: date) -> str:
    return f"{day:%Y-%m}"


def _order(table: str) -> Callable[[Row], tuple[str, str]]:
    """Rows are sorted by kernel and boot: a query of one kernel skips the row groups of others."""
    boot, kernel = place(table, "boot"), place(table, "kernel")
    return lambda row: (row[kernel], row[boot])
