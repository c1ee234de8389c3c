# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables that fit a width: long cells are wrapped at the punctuation of kernel names.

The only file that imports tabulate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from tabulate import tabulate

from virtio_trace.render.escape import escape
from virtio_trace.render.words import Paint

WIDTH = 100
"""The width if there is no terminal."""

Cell = str | tuple[str, str]
"""A text, or a text and its style."""

_BLOCK = 500
_GAP = 2
_NARROWEST = 6
# Not at . and :, which would split a device's address or a time.
_WORDS = re.compile(r"[^ ]* |[^ ]+")
_PARTS = re.compile(r"[^ _,\-/]*[ _,\-/]|[^ _,\-/]+")


def grid(heading: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, paint: Paint) -> str:
    """HEADING and ROWS as text of at most WIDTH columns, escaped."""
    return "\n".join(grid_lines(heading, rows, width, paint))


def grid_lines(
    heading: Sequence[str], rows: Iterable[Sequence[Cell]], width: int, paint: Paint
) -> Iterator[str]:
    """The same, line by line. ROWS are iterated over more than once; there may be many."""
    table = _Table(heading, rows)
    room = table.fit(width)
    ruler = ["-" * most for most in room]  # tabulate aligns a block by its own cells
    left = iter(table)
    while block := list(islice(left, _BLOCK)):
        shown = [
            [_text(c, most, paint) for c, most in zip(row, room, strict=True)] for row in block
        ]
        text = tabulate([ruler, *shown], tablefmt="plain", disable_numparse=True)
        yield from (line.rstrip() for line in text.splitlines()[1:])


class _Table:
    def __init__(self, heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        self._heading = [(text, "faint") for text in heading]
        self._rows = rows

    def __iter__(self) -> Iterator[list[tuple[str, str]]]:
        yield self._heading
        for row in self._rows:
            yield [_cell(cell) for cell in row]

    def fit(self, width: int) -> list[int]:
        """The widths of the columns: the widest are narrowed until all fit, first down to their
        longest word, then further."""
        widths = self._most(len)
        room = width - _GAP * (len(widths) - 1)
        if sum(widths) <= room:
            return widths
        for least in (self._most(_longest_word), [0] * len(widths)):
            while sum(widths) > room:
                wide = [i for i, has in enumerate(widths) if has > max(least[i], _NARROWEST)]
                if not wide:
                    break
                widths[max(wide, key=widths.__getitem__)] -= 1
        most = [0] * len(widths)
        for row in self:
            for i, cell in enumerate(row):
                most[i] = max(most[i], *map(len, _wrapped(cell, widths[i])))
        return most

    def _most(self, measure: Callable[[str], int]) -> list[int]:
        """The highest MEASURE of each column's cells."""
        most = [0] * len(self._heading)
        for row in self:
            for i, (text, _) in enumerate(row):
                size = measure(text)
                most[i] = max(most[i], size)
        return most


def wrap(text: str, width: int) -> list[str]:
    """TEXT in lines of at most WIDTH, broken after a space, or after punctuation in a name that is
    wider than a line."""
    if len(text) <= width:
        return [text]
    lines, line = [], ""
    for part in _parts(text, width):
        if line and len(line) + len(part.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += part
        while len(line.rstrip()) > width:
            lines.append(line[:width])
            line = line[width:]
    return [*lines, line.rstrip()]


def _parts(text: str, width: int) -> list[str]:
    parts: list[str] = []
    for word in _WORDS.findall(text):
        parts += [word] if len(word.rstrip()) <= width else _PARTS.findall(word)
    return parts


def _cell(cell: Cell) -> tuple[str, str]:
    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return escape(text).strip(), style


def _wrapped(cell: tuple[str, str], room: int) -> list[str]:
    text = cell[0]
    return [text] if len(text) <= room else [line.strip() for line in wrap(text, room)]


def _text(cell: tuple[str, str], room: int, paint: Paint) -> str:
    style = cell[1]
    return "\n".join(paint(x, style) if style and x else x for x in _wrapped(cell, room))


def _longest_word(text: str) -> int:
    return max((len(part.rstrip()) for part in _PARTS.findall(text)), default=0)
