# SPDX-License-Identifier: GPL-2.0-or-later
"""Selected events of a recording in order: lines of text, or JSON Lines. Each event is written as
it is read; none is kept."""

from __future__ import annotations

from typing import TextIO

from virtio_trace.render import json
from virtio_trace.render.lines import Lines
from virtio_trace.render.words import Paint, plain
from virtio_trace.report.selection import Selection


def text(
    selection: Selection,
    out: TextIO,
    width: int | None = None,
    paint: Paint = plain,
    verbose: bool = False,
) -> None:
    """Write the events for a terminal of WIDTH columns, numbered and indented by call. Status and
    features are names; with VERBOSE, hexadecimal."""
    lines = Lines(width, numbered=True, paint=paint, names=not verbose)
    for event in selection.events():
        out.writelines(f"{line}\n" for line in lines.add(event))
    out.writelines(f"{line}\n" for line in lines.flush())


def json_lines(selection: Selection, out: TextIO) -> None:
    """Write each event as in the recording, with its ``depth`` in the nesting of all events."""
    for event, call in selection.calls():
        json.line({**event.to_json(), "depth": call.depth if call else 0}, out)
