# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables that fit a width: long cells are wrapped at the punctuation of kernel names.

The only file that imports tabulate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from virtio_trace.render.escape import escape
from virtio_trace.render.words import Paint

WIDTH = 100
"""The width if there is no terminal."""

Cell = str | tuple[str, str]
"""A text, or a text and its style."""

_GAP = 2
_NARROWEST = 6
# Not at . and :, which would split a device's address or a time.
_WORDS = re.compile(r"[^ ]* |[^ ]+")
_PARTS = re.compile(r"[^ _,\-/]*[ _,\-/]|[^ _,\-/]+")


def grid(heading: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, paint: Paint) -> str:
    """HEADING and ROWS as text of at most WIDTH columns, escaped."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    table = [[(text, "faint") for text in heading], *cells]
    columns = [[text for text, _ in column] for column in zip(*table, strict=True)]
    widths = _fit(columns, width)
    shown = [
        [_wrapped(cell, room, paint) for cell, room in zip(row, widths, strict=True)]
        for row in table
    ]
    text = tabulate(shown, tablefmt="plain", disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.splitlines())


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
    return escape(text), style


def _wrapped(cell: tuple[str, str], room: int, paint: Paint) -> str:
    text, style = cell
    lines = wrap(text, room)
    return "\n".join(paint(line, style) if style and line else line for line in lines)


def _fit(columns: list[list[str]], width: int) -> list[int]:
    """The widths of the columns: the widest are narrowed until all fit, first down to their longest
    word, then further."""
    widths = [max(map(len, column)) for column in columns]
    words = [max(map(_longest_word, column)) for column in columns]
    room = width - _GAP * (len(widths) - 1)
    for least in (words, [0] * len(widths)):
        while sum(widths) > room:
            wide = [i for i, has in enumerate(widths) if has > max(least[i], _NARROWEST)]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _longest_word(text: str) -> int:
    return max((len(part.rstrip()) for part in _PARTS.findall(text)), default=0)
