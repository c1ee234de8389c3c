# SPDX-License-Identifier: GPL-2.0-or-later
"""A TOML file whose errors have line numbers, which tomllib does not keep."""

from __future__ import annotations

import bisect
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError, UsageError

Place = tuple[str | int, ...]
"""Where a value is: keys, and indices of arrays of tables, from the outside in."""

LARGEST = 1 << 20
"""Bytes of a file that is read."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'|#[^\n]*|\n|[^\S\n]+'
    r"""|[^\s"'#\[\]{}]+|.""",
    re.DOTALL,
)
"""Strings, comments, ends of lines, blanks, words, and single characters."""


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A parsed file. ``name`` is how the user called it."""

    name: str
    text: str
    data: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> TomlFile:
        """Raises UsageError if PATH cannot be read, BadInputError if it is not TOML."""
        try:
            with path.open("rb") as file:
                raw = file.read(LARGEST + 1)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", "name a TOML file") from error
        if len(raw) > LARGEST:
            raise BadInputError(f"{path} has more than {LARGEST >> 20} MiB", "is it a plan?")
        return cls.parse(raw, str(path))

    @classmethod
    def parse(cls, raw: bytes, name: str) -> TomlFile:
        """RAW, of the file NAME. Raises BadInputError."""
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise BadInputError(f"{name}, line {line}: not UTF-8", "TOML is UTF-8") from error
        try:
            return cls(name, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise BadInputError(f"{name}: not TOML: {error}", "see https://toml.io") from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a date that is none
            raise BadInputError(f"{name}: not TOML: {error}", "see https://toml.io") from error

    def error(self, place: Place, message: str, hint: str = "") -> BadInputError:
        """The error for what is wrong at PLACE."""
        line = self.line(place)
        where = f"{self.name}, line {line}" if line else self.name
        return BadInputError(f"{where}: {message}", hint)

    def line(self, place: Place) -> int | None:
        """The line, counted from 1, on which the statement that makes PLACE begins."""
        if not place or not _has(self.data, place):
            return None
        starts = _statements(self.text)
        ends = [*(at for at, _ in starts[1:]), len(self.text)]
        # The beginnings of the file that end with a statement are TOML, and have PLACE from some
        # statement on.
        found = bisect.bisect_left(ends, True, key=lambda end: self._has_until(end, place))
        return starts[found][1]

    def _has_until(self, end: int, place: Place) -> bool:
        return _has(tomllib.loads(self.text[:end]), place)


def _statements(text: str) -> list[tuple[int, int]]:
    """Offset and line of each statement of TEXT, which is TOML: a key with its value, or the name
    of a table."""
    found = []
    depth, line, begins = 0, 1, True
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word == "\n" and depth == 0:
            begins = True
        elif begins and not word.isspace() and word[0] != "#":
            found.append((token.start(), line))
            begins = False
        if len(word) == 1:
            depth += (word in "[{") - (word in "]}")
        line += word.count("\n")
    return found


def _has(data: Any, place: Place) -> bool:
    for key in place:
        if isinstance(key, int):
            if not isinstance(data, list) or key >= len(data):
                return False
        elif not isinstance(data, dict) or key not in data:
            return False
        data = data[key]
    return True
