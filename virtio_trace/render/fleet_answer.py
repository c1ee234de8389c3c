# SPDX-License-Identifier: GPL-2.0-or-later
"""The answer to ``fleet sql``."""

from __future__ import annotations

import csv as csv_module
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from virtio_trace.render.grid import grid_lines
from virtio_trace.render.words import Paint

if TYPE_CHECKING:  # its library belongs to an extra
    from virtio_trace.fleet.sql import Answer


def table(answer: Answer, out: TextIO, width: int | None, paint: Paint) -> None:
    """Write ANSWER as a table. NULL is empty."""
    rows = [["" if cell is None else _plain(cell, str) for cell in row] for row in answer.rows]
    numbers = [
        name
        for place, name in enumerate(answer.columns)
        if rows and all(_is_number(row[place]) for row in rows)
    ]
    for line in grid_lines(answer.columns, rows, width, paint, right=numbers):
        out.write(f"{line}\n")


def csv(answer: Answer, out: TextIO) -> None:
    """Write ANSWER as CSV (RFC 4180) with a heading. NULL is empty."""
    writer = csv_module.writer(out)
    writer.writerow(answer.columns)
    for row in answer.rows:
        writer.writerow(["" if cell is None else _plain(cell, str) for cell in row])


def json_lines(answer: Answer, out: TextIO) -> None:
    """Write each row of ANSWER as a JSON object on a line of its own."""
    for row in answer.rows:
        document = dict(zip(answer.columns, row, strict=True))
        out.write(json.dumps(document, default=lambda cell: _plain(cell, str)) + "\n")


def _plain(cell: Any, otherwise: Callable[[Any], str]) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell.isoformat() if hasattr(cell, "isoformat") else otherwise(cell)


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
