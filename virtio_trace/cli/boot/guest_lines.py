# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a recording that arrives line by line from a guest, and shows its events."""

from __future__ import annotations

import json
import time
from typing import Any, BinaryIO

from virtio_trace.cli.support.live import LiveLines
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.errors import IncompleteError, VirtioTraceError
from virtio_trace.recording.events import EventReader
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.trailer import TRAILER

_PATIENCE_SECONDS = 0.5

MOST_BYTES = 1 << 30
"""A recording is kept in memory: a guest must not fill it."""
_LINE_BYTES = 64
"""What a line takes beside its content. Frames may hold millions of empty lines."""


class GuestLines:
    """Passes a recording's lines on to its file and, as live lines, to the terminal.

    With EVERYTHING, also events that do not concern VirtIO. ``lines`` keeps them for the report, as
    the file may be standard output."""

    def __init__(self, target: RecordingOutput, quiet: bool, everything: bool = False) -> None:
        self.target = target
        self._quiet = quiet
        self.everything = everything
        self._file: BinaryIO | None = None
        self._live: LiveLines | None = None
        self._reader = EventReader()
        self._last = 0.0
        self._size = 0
        self.lines: list[bytes] = []

    def consume(self, line: bytes) -> None:
        """Consumes one line, its newline included.

        Raises IncompleteError if it cannot be written, or the recording is too large.
        """
        self._size += len(line) + _LINE_BYTES
        if self._size > MOST_BYTES:
            raise IncompleteError(
                f"the guest's recording has more than {MOST_BYTES >> 20} MiB: it ends here",
                "record less: a shorter --run, or another --until",
            )
        self.lines.append(line)
        if self._file is None:
            self._file = self.target.open()
        self._file.write(line)
        self._file.flush()
        self._last = time.monotonic()
        self._show(line)

    @property
    def events(self) -> int:
        """How many lines have come, without the header."""
        return max(len(self.lines) - 1, 0)

    def pause(self) -> None:
        """Shows calls whose return has not come for a while. To be called now and then."""
        if self._live is not None and time.monotonic() - self._last > _PATIENCE_SECONDS:
            self._live.show([])

    def close(self) -> None:
        """Closes the file, and shows what is left."""
        if self._live is not None:
            self._live.close()
        self.target.close()

    def _show(self, line: bytes) -> None:
        """A damaged line is not shown. The reader of the recording reports what is wrong."""
        try:
            raw: Any = json.loads(line)
            if self._live is None:  # the header
                self._live = LiveLines(self._quiet, _evidence(raw), self.everything)
            elif raw.get("kind") != TRAILER:
                self._live.show([self._reader.event(raw)])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, VirtioTraceError):
            return


def _evidence(header: dict[str, Any]) -> Evidence:
    """What the header says of the kernel's files; nothing if it is damaged."""
    try:
        return Evidence.from_json(header["evidence"])
    except (KeyError, VirtioTraceError):
        return Evidence("")
