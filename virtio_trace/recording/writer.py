# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a recording line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

from virtio_trace.recording.events import Event
from virtio_trace.recording.header import SCHEMA, TRAILER


class Writer:
    """Writes a recording line by line; every line leaves at once, so that a death loses none."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.events = 0

    def header(self, header: dict[str, Any]) -> None:
        """Write the first line; ``schema`` is put in front."""
        self._line({"schema": SCHEMA, **header})

    def write(self, events: Iterable[Event]) -> None:
        """Write events, in their order."""
        lines = [_dump(event.to_json()) for event in events]
        self.events += len(lines)
        if lines:
            self._stream.write(b"".join(lines))
            self._stream.flush()

    def trailer(self, trailer: dict[str, Any]) -> None:
        """Write the last line; the count of events is put in."""
        self._line({"kind": TRAILER, "events": self.events, **trailer})

    def _line(self, line: dict[str, Any]) -> None:
        self._stream.write(_dump(line))
        self._stream.flush()


def _dump(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
