# SPDX-License-Identifier: GPL-2.0-or-later
"""What a terminal shows: its width and its colours."""

from __future__ import annotations

import os
import re
import textwrap
from typing import Any, TextIO

import click

from virtio_trace.render.words import Paint, plain

_OPTION = re.compile(" --?[a-zA-Z]")
_WIDTH = 100
_NARROWEST = 40
_STYLES: dict[str, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "unsure": {"fg": "yellow"},
    "name": {"bold": True},
    "faint": {"dim": True},
    "heading": {"bold": True},
}


def paint_for(out: TextIO) -> Paint:
    """Colour on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    if not out.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return plain
    return lambda text, style: click.style(text, **_STYLES[style])


def is_live(out: TextIO) -> bool:
    """Whether OUT is a terminal on which a line can be replaced."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


def width_of(out: TextIO) -> int | None:
    """The columns for OUT: COLUMNS, else those of its terminal. None: OUT is not a terminal, and
    any width is fine. As with git and perf, a pipe or a file gets whole lines; COLUMNS, which a
    shell does not export, is a wish."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns[:6]) > 0:
        return max(int(columns[:6]), _NARROWEST)
    if not out.isatty():
        return None
    try:
        width = os.get_terminal_size(out.fileno()).columns
    except OSError:
        width = 0
    return max(width or _WIDTH, _NARROWEST)


def fold(text: str, out: TextIO, indent: int) -> str:
    """TEXT for OUT: on a terminal, in lines that end at spaces, all but the first indented. A text
    with options of a command stays whole, so that it can be copied."""
    width = width_of(out) if out.isatty() else None
    if width is None or _OPTION.search(text):
        return text
    return textwrap.fill(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
