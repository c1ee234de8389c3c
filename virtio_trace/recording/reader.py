# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a recording: JSON Lines with a header, one event per line, and a trailer.

A recording is evidence. Nothing in it is derived: graph and verdict are computed when it is read,
so a better checker also works on old recordings. Unknown members are ignored.

See docs/decisions/0001.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.recording.events import Event, EventReader
from virtio_trace.recording.header import SCHEMA, Header
from virtio_trace.recording.line_forms import LineForms
from virtio_trace.recording.source import Source
from virtio_trace.recording.trailer import TRAILER, Trailer

DAMAGED = "the file was changed or damaged"
_BEGIN = f'{{"schema":"{SCHEMA}"'.encode()


class Recording(Source):
    """A recording in memory, for short ones. ``trailer`` is None if the file was truncated."""

    def __init__(
        self, header: Header, events: list[Event] | None = None, trailer: Trailer | None = None
    ) -> None:
        super().__init__(header, trailer)
        self.events: list[Event] = [] if events is None else events

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recording):
            return NotImplemented
        mine = self.header, self.events, self.trailer
        return mine == (other.header, other.events, other.trailer)

    __hash__ = None  # type: ignore[assignment]

    @property
    def count(self) -> int:
        """How many events it has."""
        return len(self.events)

    @property
    def last_seq(self) -> int:
        """The sequence number of the last event; 0 without events."""
        return self.events[-1].seq if self.events else 0

    @property
    def first_ns(self) -> int | None:
        """The time of the first event, None without events."""
        return self.events[0].ns if self.events else None


@dataclass(slots=True)
class Tally:
    """What the events of a recording amount to; see Source."""

    trailer: Trailer | None = None
    count: int = 0
    last_seq: int = 0
    first_ns: int | None = None


class LineReader:
    """Reads the lines of one recording. The forms of lines that it has learned stay known, so a
    second reading parses nothing. NAME is for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reader, self._forms = EventReader(), LineForms()
        self._trailer: Trailer | None = None

    def header(self, lines: Iterator[bytes]) -> Header:
        """The header, from the first of LINES. Raises BadInputError."""
        name, line = self._name, next(lines, b"")
        if not line.endswith(b"\n"):
            if line and not _BEGIN.startswith(line[: len(_BEGIN)]):
                raise _not_json(1, name)
            raise BadInputError(
                f"{name}: empty, or cut within its first line", "record again: nothing was kept"
            )
        raw = _parse(line, 1, name)
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

    def events(self, lines: Iterable[bytes], tally: Tally) -> Iterator[Event]:
        """The events of LINES, which follow the header. Raises BadInputError. When all have been
        read, TALLY has what they amount to."""
        self._trailer = None
        count = last = 0
        for event in self._forms.events(lines, self._unknown, 2):
            if event.seq <= last or self._trailer is not None:
                raise self._misplaced(event.seq, last, count)
            last = event.seq
            if not count:
                first_ns = event.ns
            count += 1
            yield event
        tally.trailer, tally.count, tally.last_seq = self._trailer, count, last
        tally.first_ns = first_ns if count else None

    def _unknown(self, number: int, line: bytes) -> Event | None:
        """The event of LINE; None if it is the trailer, or the last line that was being written."""
        if not line.endswith(b"\n"):
            return None
        raw = _parse(line, number, self._name)
        try:
            if self._trailer is not None:
                raise BadInputError("something follows the trailer")
            if raw.get("kind") == TRAILER:
                self._trailer = Trailer.from_json(raw)
                return None
            event = self._reader.event(raw)
        except BadInputError as error:
            raise self._damaged(number, error) from error
        self._forms.learn(line, event)
        return event

    def _misplaced(self, seq: int, last: int, count: int) -> BadInputError:
        if self._trailer is not None:
            return self._damaged(count + 3, BadInputError("something follows the trailer"))
        return self._damaged(count + 2, BadInputError(f"sequence number {seq} after {last}"))

    def _damaged(self, number: int, error: BadInputError) -> BadInputError:
        return BadInputError(f"{self._name}: line {number}: {error}", error.hint or DAMAGED)


def read(lines: Iterable[bytes], name: str) -> Recording:
    """Read a recording into memory; NAME is for messages. Raises BadInputError.

    The last line may be truncated, for example because the recorder died: the lines before it are
    read. Any other damaged line makes the file unreadable. recording_file.py reads long files.
    """
    rest, reader = iter(lines), LineReader(name)
    recording, tally = Recording(reader.header(rest)), Tally()
    recording.events = list(reader.events(rest, tally))
    recording.trailer = tally.trailer
    return recording


_decode = json.JSONDecoder().decode


def trailer_of(line: bytes) -> Trailer | None:
    """The trailer in LINE; None if it is none, or damaged."""
    try:
        raw = _decode(line.decode())
        is_trailer = type(raw) is dict and raw.get("kind") == TRAILER
        return Trailer.from_json(raw) if is_trailer else None
    except (ValueError, RecursionError, BadInputError):
        return None


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
