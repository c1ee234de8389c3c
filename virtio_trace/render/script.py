# SPDX-License-Identifier: GPL-2.0-or-later
"""Selected events of a recording in order: lines of text, or JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from virtio_trace.graph.calls import nest
from virtio_trace.recording.events import Event
from virtio_trace.recording.reader import Recording
from virtio_trace.render import json
from virtio_trace.render.lines import Lines
from virtio_trace.render.words import Paint, plain


@dataclass(frozen=True, slots=True)
class Selection:
    """The events of a recording that are shown, in their order."""

    recording: Recording
    events: Sequence[Event]


def text(selection: Selection, out: TextIO, width: int | None = None, paint: Paint = plain) -> None:
    """Write the events for a terminal of WIDTH columns, numbered and indented by call."""
    lines = Lines(width, numbered=True, paint=paint)
    for event in selection.events:
        out.writelines(f"{line}\n" for line in lines.add(event))
    out.writelines(f"{line}\n" for line in lines.flush())


def json_lines(selection: Selection, out: TextIO) -> None:
    """Write each event as in the recording, with its ``depth`` in the nesting of all events."""
    shown = {event.seq for event in selection.events}
    for event, call in nest(selection.recording.events):
        if event.seq in shown:
            json.line({**event.to_json(), "depth": call.depth if call else 0}, out)
