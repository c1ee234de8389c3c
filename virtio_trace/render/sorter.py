# SPDX-License-Identifier: GPL-2.0-or-later
"""Sorts more records than fit into memory: sorted runs in a temporary file, merged in the end."""

from __future__ import annotations

import heapq
import marshal
import tempfile
from collections.abc import Iterator
from typing import Any

Record = tuple[Any, ...]

_IN_MEMORY = 20_000
"""Records of a run."""

_CHUNK = 200
"""Records of a run that are in memory at once while runs are merged."""


class Sorter:
    """Takes records of what marshal can write (numbers, strings, None); iterating yields them in
    order, once."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with us
        self._runs: list[list[int]] = []

    def add(self, record: Record) -> None:
        """Take RECORD."""
        self._records.append(record)
        if len(self._records) >= _IN_MEMORY:
            self._write()

    def __iter__(self) -> Iterator[Record]:
        self._records.sort()
        if not self._runs:
            return iter(self._records)
        return heapq.merge(*(self._run(chunks) for chunks in self._runs), self._records)

    def _write(self) -> None:
        records = self._records
        records.sort()
        chunks = []
        for start in range(0, len(records), _CHUNK):
            chunks.append(self._file.tell())
            marshal.dump(records[start : start + _CHUNK], self._file)
        self._runs.append(chunks)
        records.clear()

    def _run(self, chunks: list[int]) -> Iterator[Record]:
        for start in chunks:
            self._file.seek(start)
            yield from marshal.load(self._file)
