# SPDX-License-Identifier: GPL-2.0-or-later
"""The line of each key in a TOML document, which tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]
"""The keys that lead to a value; a number is a place in an array of tables."""

_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[{]|[\]}]|\n|=|[^\s\[\]{}=\"'#]+",
    re.DOTALL,
)
"""What matters for where a statement ends: strings, comments, brackets, ends of lines."""


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, on which each key of TEXT and each table begins. TEXT is valid TOML."""
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for line, head, is_header in _statements(text):
        if not is_header:
            found.setdefault(table + _keys(f"{head} = 0"), line)
            continue
        table = _placed(_keys(head), counts, head.startswith("[["))
        found.setdefault(table, line)
    return found


def _placed(keys: Path, counts: dict[Path, int], is_next: bool = False) -> Path:
    """KEYS with the place of the last table of each array of tables in it. COUNTS has the last
    places. IS_NEXT: one more table of the array KEYS begins."""
    path: Path = ()
    for number, key in enumerate(keys):
        path = (*path, key)
        if is_next and number == len(keys) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of PATH, or of what has it: an inline table has no lines within it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _statements(text: str) -> Iterator[tuple[int, str, bool]]:
    """The line, the key and whether it is a table's header, of each statement."""
    start: int | None = None
    depth, line, began, counted, last, key_end = 0, 1, 1, 0, 0, 0
    header = False
    for token in _TOKEN.finditer(text):
        word, at = token[0], token.start()
        line += text.count("\n", counted, at)
        counted = at
        if word == "\n" and depth == 0:
            if start is not None and header:
                yield began, text[start:last], True
            start = None
            continue
        if word == "\n" or word.startswith("#"):
            continue
        if start is None:
            start, began, header, key_end = at, line, word == "[", 0
        last = token.end()
        if word == "=" and depth == 0 and not header and not key_end:
            key_end = at
            yield began, text[start:at].strip(), False
        depth += (word in "[{") - (word in "]}") if len(word) == 1 else 0
    if start is not None and header:
        yield began, text[start:last], True


def _keys(statement: str) -> Path:
    """The keys in STATEMENT, a header or an assignment."""
    value: Any = tomllib.loads(statement)
    path: list[str] = []
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        path.append(name)
        if isinstance(value, list):
            break
    return tuple(path)
