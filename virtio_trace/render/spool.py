# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts that are made in one order and written in another. Many are kept in a temporary file."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator

_IN_MEMORY = 1 << 20
"""Bytes from which on they are in a file."""


class Spool:
    """Holds ASCII texts, each with a number; iterating yields them by number. In memory, a text
    takes 24 bytes."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with us
        self._numbers, self._starts, self._lengths = array("q"), array("q"), array("q")
        self._end = 0

    def add(self, number: int, text: str) -> None:
        """Hold TEXT."""
        self._numbers.append(number)
        self._starts.append(self._end)
        self._lengths.append(len(text))
        self._end += self._file.write(text.encode("ascii"))

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        for place in sorted(range(len(self._numbers)), key=self._numbers.__getitem__):
            self._file.seek(self._starts[place])
            yield self._file.read(self._lengths[place]).decode("ascii")
