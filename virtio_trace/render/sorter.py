# SPDX-License-Identifier: GPL-2.0-or-later
"""Sorts more records than fit into memory: sorted runs in a temporary file, merged in the end."""

from __future__ import annotations

import io
import marshal
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

Record = tuple[Any, ...]

_IN_MEMORY = 20_000
"""Records of a run."""

_CHUNK = 100
"""Records of a run that are in memory at once while runs are merged."""


_PLAIN = 2
"""The version of marshal's format without references, which cost time and are of no use here."""


_RUNS = 32
"""Runs that are merged to a longer one. So few runs are read at once, however many records."""


class Sorter:
    """Takes records of what marshal can write (numbers, strings, None); iterating yields them in
    order, once."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with us
        self._levels: list[list[_Run]] = []

    def add(self, record: Record) -> None:
        """Take RECORD."""
        self._records.append(record)
        if len(self._records) >= _IN_MEMORY:
            self._records.sort()
            run = self._written(iter(self._records))
            self._records.clear()  # before runs are merged, which takes memory too
            self._keep(run, 0)

    def __iter__(self) -> Iterator[Record]:
        self._records.sort()
        return _merged([run for level in self._levels for run in level], self._records)

    def _keep(self, run: _Run, level: int) -> None:
        """Keep RUN; LEVEL tells how often its records were merged."""
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(run)
        if len(runs) == _RUNS:
            self._levels[level] = []
            self._keep(self._written(_merged(runs, [])), level + 1)

    def _written(self, records: Iterator[Record]) -> _Run:
        run = _Run(self._file)
        while chunk := list(islice(records, _CHUNK)):
            run.write(chunk)
        return run


class _Run:
    """A sorted run in FILE. ``records``: what is in memory of it, once it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places = array("q")
        self._next = 0
        self.records: list[Record] = []

    def write(self, records: list[Record]) -> None:
        """Add RECORDS."""
        text = marshal.dumps(records, _PLAIN)
        self._places.extend((self._file.seek(0, io.SEEK_END), len(text)))
        self._file.write(text)

    @property
    def is_more(self) -> bool:
        """Whether not all of it has been in memory."""
        return self._next < len(self._places)

    def load(self) -> None:
        """Load the next chunk, if there is one."""
        if self.is_more:
            start, length = self._places[self._next : self._next + 2]
            self._next += 2
            self._file.seek(start)
            self.records = marshal.loads(self._file.read(length))  # load() reads byte by byte


def _merged(runs: list[_Run], last: list[Record]) -> Iterator[Record]:
    """The records of RUNS and of LAST, all of them sorted, in order."""
    for run in runs:
        run.load()
    while runs or last:
        # What is up to BOUND is in memory, of every run.
        bound = min((run.records[-1] for run in runs if run.is_more), default=None)
        block = _take(last, bound)
        for run in runs:
            block += _take(run.records, bound)
            if not run.records:
                run.load()
        runs = [run for run in runs if run.records]
        block.sort()
        yield from block


def _take(records: list[Record], bound: Record | None) -> list[Record]:
    """Remove and return those of RECORDS up to BOUND; None stands for all."""
    end = len(records) if bound is None else bisect_right(records, bound)
    taken = records[:end]
    del records[:end]
    return taken
