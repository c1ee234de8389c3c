# SPDX-License-Identifier: GPL-2.0-or-later
"""A TOML file whose errors have line numbers, which tomllib does not keep."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.report.board.lines import line_of, lines_of

Place = tuple[str | int, ...]
"""Where a value is: keys, and indices of arrays of tables, from the outside in."""

LARGEST = 1 << 20
"""Bytes of a file that is read."""


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
            text = raw.decode("utf-8").replace("\r\n", "\n")
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
        """The line, counted from 1, of PLACE or of what has it; None: it is the whole file."""
        return line_of(lines_of(self.text), place) if place else None
