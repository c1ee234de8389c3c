# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a recording line by line. Each line is flushed: a crash truncates at most the last one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, BinaryIO

from virtio_trace.recording.events import Event
from virtio_trace.recording.header import Header
from virtio_trace.recording.trailer import Trailer


class LineStream(io.BytesIO):
    """Passes each line to a function. It is given whole lines, as Writer gives them."""

    def __init__(self, consume: Callable[[bytes], None]) -> None:
        super().__init__()
        self._consume = consume

    def write(self, data: Any) -> int:
        """DATA has one or more whole lines."""
        for line in bytes(data).splitlines(keepends=True):
            self._consume(line)
        return len(data)


class Writer:
    """Writes to STREAM; ``events`` counts the events written. Raises whatever STREAM raises."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.events = 0

    def header(self, header: Header) -> None:
        """Write the first line."""
        self._line(header.to_json())

    def write(self, events: Iterable[Event]) -> None:
        """Write events, in their order."""
        lines = [dump(event.to_json()) for event in events]
        self.events += len(lines)
        if lines:
            self._stream.write(b"".join(lines))
            self._stream.flush()

    def trailer(self, trailer: Trailer) -> None:
        """Write the last line, with the number of events that were written."""
        self._line(replace(trailer, events=self.events).to_json())

    def _line(self, line: dict[str, Any]) -> None:
        self._stream.write(dump(line))
        self._stream.flush()


def dump(line: dict[str, Any]) -> bytes:
    """LINE as a line of the file."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
