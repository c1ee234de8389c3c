# SPDX-License-Identifier: GPL-2.0-or-later
"""Sorts more records than fit into memory: sorted runs in a temporary file, merged in the end."""

from __future__ import annotations

import marshal
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from typing import IO, Any

Record = tuple[Any, ...]
_Chunk = tuple[int, int]
"""Where records begin in the file, and their length."""

_IN_MEMORY = 20_000
"""Records of a run."""

_CHUNK = 200
"""Records of a run that are in memory at once while runs are merged."""


_PLAIN = 2
"""The version of marshal's format without references, which cost time and are of no use here."""


class Sorter:
    """Takes records of what marshal can write (numbers, strings, None); iterating yields them in
    order, once."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with us
        self._runs: list[list[_Chunk]] = []

    def add(self, record: Record) -> None:
        """Take RECORD."""
        self._records.append(record)
        if len(self._records) >= _IN_MEMORY:
            self._write()

    def __iter__(self) -> Iterator[Record]:
        self._records.sort()
        if not self._runs:
            yield from self._records
            return
        runs = [_Run(self._file, chunks) for chunks in self._runs]
        while runs or self._records:
            # What is up to BOUND is in memory, of every run.
            bound = min((run.records[-1] for run in runs if run.chunks), default=None)
            block = _take(self._records, bound)
            for run in runs:
                block += _take(run.records, bound)
                if not run.records:
                    run.load()
            runs = [run for run in runs if run.records]
            block.sort()
            yield from block

    def _write(self) -> None:
        records = self._records
        records.sort()
        chunks: list[_Chunk] = []
        for start in range(0, len(records), _CHUNK):
            text = marshal.dumps(records[start : start + _CHUNK], _PLAIN)
            chunks.append((self._file.tell(), len(text)))
            self._file.write(text)
        self._runs.append(chunks)
        records.clear()


class _Run:
    """A sorted run in FILE, whose CHUNKS begin there. ``records``: what is in memory of it."""

    def __init__(self, file: IO[bytes], chunks: list[_Chunk]) -> None:
        self._file = file
        self.chunks = chunks[::-1]
        self.records: list[Record] = []
        self.load()

    def load(self) -> None:
        """Load the next chunk, if there is one."""
        if self.chunks:
            start, length = self.chunks.pop()
            self._file.seek(start)
            self.records = marshal.loads(self._file.read(length))  # load() reads byte by byte


def _take(records: list[Record], bound: Record | None) -> list[Record]:
    """Remove and return those of RECORDS up to BOUND; None stands for all."""
    end = len(records) if bound is None else bisect_right(records, bound)
    taken = records[:end]
    del records[:end]
    return taken
