# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording that comes line by line out of a guest: to its file, and to the terminal."""

from __future__ import annotations

import json
import time
from typing import Any, BinaryIO

from virtio_trace.cli.support.live import LiveLines
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.errors import IncompleteError, VirtioTraceError
from virtio_trace.recording.events import EventReader
from virtio_trace.recording.header import TRAILER

_PATIENCE_SECONDS = 0.5


class GuestLines:
    """Takes a recording's lines from the guest to the file and, as live lines, to the terminal.

    ``lines`` keeps them for the report, as the file may be standard output."""

    def __init__(self, target: RecordingOutput, quiet: bool) -> None:
        self._target = target
        self._quiet = quiet
        self._file: BinaryIO | None = None
        self._live: LiveLines | None = None
        self._reader = EventReader()
        self._last = 0.0
        self.lines: list[bytes] = []

    def consume(self, line: bytes) -> None:
        """One line, its end included. Raises IncompleteError where it cannot be written."""
        self.lines.append(line)
        if self._file is None:
            self._file = self._target.open()
        try:
            self._file.write(line)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise IncompleteError(
                f"{self._target.name}: the recording ends here: {error.strerror}",
                "give it a place with room: -o FILE",
            ) from error
        self._last = time.monotonic()
        self._show(line)

    def pause(self) -> None:
        """Called now and then: what waits for a call's end is shown where that takes its time."""
        if self._live is not None and time.monotonic() - self._last > _PATIENCE_SECONDS:
            self._live.show([])

    def close(self) -> None:
        """The end of the guest."""
        if self._live is not None:
            self._live.close()
        self._target.close()

    def _show(self, line: bytes) -> None:
        """A damaged line is shown by nobody: who reads the recording says what is wrong with it."""
        try:
            raw: Any = json.loads(line)
            if self._live is None:  # the header
                self._live = LiveLines(self._quiet)
            elif raw.get("kind") != TRAILER:
                self._live.show([self._reader.event(raw)])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, VirtioTraceError):
            return
