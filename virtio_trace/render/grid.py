# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and paragraphs that fit a width, without a break inside a word or an address.

Where a table does not fit, columns are left out, in an order that its caller states; a line under
the table names them. Then cells are wrapped at their spaces, and headings at their hyphens too.

The only file that imports tabulate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice

from tabulate import tabulate

from virtio_trace.render.escape import escape
from virtio_trace.render.words import Paint

Cell = str | tuple[str, str]
"""A text, or a text and its style."""

_Column = tuple[int, int, str]
"""Its place in a row, how many characters it may have, and "left" or "right"."""

_BLOCK = 500
_GAP = 2
_WORDS = re.compile(r"[^ ]* |[^ ]+")
_PARTS = re.compile(r"[^ -]*[ -]|[^ -]+")
"""The parts of a heading: device-registered is the name of a step."""


def grid(heading: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, paint: Paint) -> str:
    """HEADING and ROWS as text of at most WIDTH columns, escaped."""
    return "\n".join(grid_lines(heading, rows, width, paint))


def grid_lines(
    heading: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    width: int | None,
    paint: Paint,
    *,
    spare: Sequence[str] = (),
    right: Sequence[str] = (),
) -> Iterator[str]:
    """The same, line by line. ROWS are iterated over more than once; there may be many.

    WIDTH None is any width. SPARE are the columns that may be left out, the first one first. RIGHT
    are those with numbers, which are aligned on the right.
    """
    table = _Table(heading, rows)
    kept, room, dropped = table.fit(width, spare)
    aligned = ["right" if heading[i] in right else "left" for i in kept]
    columns = list(zip(kept, room, aligned, strict=True))
    for simple, group in groupby(enumerate(table), lambda one: _is_simple(one[1], columns)):
        if simple:
            yield from (_line(row, columns, paint) for _, row in group)
        else:
            yield from _wrapped_lines(group, columns, paint)
    if dropped:
        yield from (paint(line, "faint") for line in wrap(_without(dropped, table), width))


def _is_simple(row: list[tuple[str, str]], columns: list[_Column]) -> bool:
    return all(len(row[i][0]) <= room and row[i][0].isascii() for i, room, _ in columns)


def _line(row: list[tuple[str, str]], columns: list[_Column], paint: Paint) -> str:
    """A row that needs one line. Not by tabulate, which looks at the type of each cell: for 30,000
    rows that takes a third of the time of reading them."""
    cells = []
    for i, room, aligned in columns:
        text, style = row[i]
        space = " " * (room - len(text))
        shown = paint(text, style) if style and text else text
        cells.append(space + shown if aligned == "right" else shown + space)
    return (" " * _GAP).join(cells).rstrip()


def _wrapped_lines(
    rows: Iterator[tuple[int, list[tuple[str, str]]]], columns: list[_Column], paint: Paint
) -> Iterator[str]:
    ruler = ["-" * room for _, room, _ in columns]  # tabulate aligns a block by its own cells
    alignment = [aligned for _, _, aligned in columns]
    while block := list(islice(rows, _BLOCK)):
        shown = [
            [_text(row[i], room, not number, paint) for i, room, _ in columns]
            for number, row in block
        ]
        text = tabulate(
            [ruler, *shown], tablefmt="plain", disable_numparse=True, colalign=alignment
        )
        yield from (line.rstrip() for line in text.splitlines()[1:])


def _without(dropped: list[str], table: _Table) -> str:
    return f"left out for want of room: {', '.join(dropped)} (COLUMNS={table.widest} shows all)"


class _Table:
    def __init__(self, heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        self._heading = [(text, "faint") for text in heading]
        self._rows = rows
        self.widest = 0

    def __iter__(self) -> Iterator[list[tuple[str, str]]]:
        yield self._heading
        for row in self._rows:
            yield [_cell(cell) for cell in row]

    def fit(
        self, width: int | None, spare: Sequence[str]
    ) -> tuple[list[int], list[int], list[str]]:
        """The columns to show, the width of each, and the names of the others."""
        widths = self._most(lambda text, _: len(text))
        self.widest = _total(widths)
        kept, dropped = list(range(len(widths))), []
        for name in spare:
            if width is None or _total([widths[i] for i in kept]) <= width:
                break
            kept = [i for i in kept if self._heading[i][0] != name]
            dropped.append(name)
        room = [widths[i] for i in kept]
        if width is not None and _total(room) > width:
            least = self._most(_longest_word)
            room = self._narrowed(kept, room, [least[i] for i in kept], width)
        return kept, room, dropped

    def _narrowed(
        self, kept: list[int], room: list[int], least: list[int], width: int
    ) -> list[int]:
        """The widest columns are narrowed, no further than to their longest word."""
        while _total(room) > width:
            wide = [i for i, has in enumerate(room) if has > least[i]]
            if not wide:
                break
            room[max(wide, key=room.__getitem__)] -= 1
        most = [0] * len(kept)
        for number, row in enumerate(self):
            for place, column in enumerate(kept):
                lines = _wrapped(row[column], room[place], not number)
                most[place] = max(most[place], *map(len, lines))
        return most

    def _most(self, measure: Callable[[str, bool], int]) -> list[int]:
        """The highest MEASURE of each column's cells."""
        most = [0] * len(self._heading)
        for number, row in enumerate(self):
            for i, (text, _) in enumerate(row):
                size = measure(text, not number)
                most[i] = max(most[i], size)
        return most


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def wrap(text: str, width: int | None) -> list[str]:
    """TEXT in lines of at most WIDTH, broken after spaces only: a longer word has a line of its
    own. WIDTH None: one line."""
    return _filled(_WORDS, text, width)


def _filled(parts: re.Pattern[str], text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    lines, line = [], ""
    for part in parts.findall(text):
        if line and len(line) + len(part.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += part
    return [*lines, line.rstrip()]


def _cell(cell: Cell) -> tuple[str, str]:
    text, style = cell if isinstance(cell, tuple) else (cell, "")
    return escape(text).strip(), style


def _wrapped(cell: tuple[str, str], room: int, is_heading: bool) -> list[str]:
    return _filled(_PARTS if is_heading else _WORDS, cell[0], room)


def _text(cell: tuple[str, str], room: int, is_heading: bool, paint: Paint) -> str:
    style = cell[1]
    lines = _wrapped(cell, room, is_heading)
    return "\n".join(paint(line, style) if style and line else line for line in lines)


def _longest_word(text: str, is_heading: bool) -> int:
    parts = (_PARTS if is_heading else _WORDS).findall(text)
    return max((len(part.rstrip()) for part in parts), default=0)
