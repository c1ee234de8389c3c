# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a recording: JSON Lines with a header, one event per line, and a trailer.

A recording is evidence. Nothing in it is derived: graph and verdict are computed when it is read,
so a better checker also works on old recordings. Unknown members are ignored.

See docs/decisions/0001.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.recording.events import Event, EventReader
from virtio_trace.recording.header import SCHEMA, Header
from virtio_trace.recording.line_forms import LineForms
from virtio_trace.recording.probe_state import NOT_ARMED, ProbeState
from virtio_trace.recording.trailer import TRAILER, Trailer

DAMAGED = "the file was changed or damaged"
_BEGIN = f'{{"schema":"{SCHEMA}"'.encode()


@dataclass(slots=True)
class Recording:
    """A recording in memory. ``trailer`` is None if the file was truncated."""

    header: Header
    events: list[Event] = field(default_factory=list)
    trailer: Trailer | None = None

    @property
    def probes(self) -> tuple[ProbeState, ...]:
        """Probe points as they were at the end, or as the header lists them without a trailer.
        Those that were not armed at boot, or missed hits then, come last."""
        at_end = self.trailer.probes if self.trailer else self.header.probes
        at_boot = (p for p in self.header.boot_probes if p.state == NOT_ARMED or p.missed)
        return (*at_end, *at_boot)

    @property
    def lost(self) -> int:
        """How many events are known to be lost: counted by the kernel, or missing in between."""
        gaps = self.events[-1].seq - len(self.events) if self.events else 0
        if self.trailer is None:
            return gaps
        return max(gaps, self.trailer.lost, self.trailer.events - len(self.events))


def read(lines: Iterable[bytes], name: str) -> Recording:
    """Read a recording; NAME is for messages. Raises BadInputError.

    The last line may be truncated, for example because the recorder died: the lines before it are
    read. Any other damaged line makes the file unreadable.
    """
    numbered = _whole_lines(lines, name)
    recording = Recording(_header(numbered, name))
    reader, forms = EventReader(), LineForms()
    events = recording.events
    last = 0
    for number, line in numbered:
        event = forms.event(line)
        raw = _parse(line, number, name) if event is None else {}
        try:
            if recording.trailer is not None:
                raise BadInputError("something follows the trailer")
            if event is None:
                if raw.get("kind") == TRAILER:
                    recording.trailer = Trailer.from_json(raw)
                    continue
                event = reader.event(raw)
                forms.learn(line, event)
            if event.seq <= last:
                raise BadInputError(f"sequence number {event.seq} after {last}")
        except BadInputError as error:
            raise BadInputError(f"{name}: line {number}: {error}", error.hint or DAMAGED) from error
        last = event.seq
        events.append(event)
    return recording


def _whole_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            if number == 1 and line and not _BEGIN.startswith(line[: len(_BEGIN)]):
                raise _not_json(number, name)
            return  # cut: the last line that was being written
        yield number, line


_decode = json.JSONDecoder().decode


def _parse(line: bytes, number: int, name: str) -> dict[str, Any]:
    """Raises BadInputError."""
    try:
        raw = _decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise _not_json(number, name) from error
    if type(raw) is not dict:
        raise _not_json(number, name)
    return raw


def _not_json(number: int, name: str) -> BadInputError:
    if number == 1:
        return BadInputError(
            f"{name}: not a virtio-trace recording", "make one: virtio-trace record -o FILE"
        )
    return BadInputError(f"{name}: line {number} is not a JSON object", "the file was damaged")


def _header(numbered: Iterator[tuple[int, bytes]], name: str) -> Header:
    first = next(numbered, None)
    if first is None:
        raise BadInputError(
            f"{name}: empty, or cut within its first line", "record again: nothing was kept"
        )
    raw = _parse(first[1], 1, name)
    schema = raw.get("schema")
    if schema is None:
        raise _not_json(1, name)
    if schema != SCHEMA:
        raise BadInputError(
            f"{name}: unknown schema {schema!r}", f"this virtio-trace reads {SCHEMA}"
        )
    try:
        return Header.from_json(raw)
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}", error.hint or DAMAGED) from error
