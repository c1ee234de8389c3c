# SPDX-License-Identifier: GPL-2.0-or-later
"""Events on standard error while recording, whether or not it is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from virtio_trace.cli.support import terminal
from virtio_trace.recording.events import Event
from virtio_trace.render.lines import Lines


class LiveLines:
    """Prints events as they happen. Errors of standard error never end a recording."""

    def __init__(self, quiet: bool) -> None:
        out = sys.stderr
        self._lines = None
        if not quiet and out is not None:
            self._lines = Lines(terminal.width_of(out), paint=terminal.paint_for(out))

    def show(self, events: Sequence[Event]) -> None:
        """Print EVENTS. If there are none, print the call whose end was awaited."""
        if self._lines is not None:
            lines = [line for event in events for line in self._lines.add(event)]
            self._print(lines if events else self._lines.flush())

    def close(self) -> None:
        """Print the call whose end was awaited, if any."""
        if self._lines is not None:
            self._print(self._lines.flush())

    def _print(self, lines: list[str]) -> None:
        with contextlib.suppress(OSError):
            for line in lines:
                print(line, file=sys.stderr)
