# SPDX-License-Identifier: GPL-2.0-or-later
"""A line an event on standard error while recording, terminal or not."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from virtio_trace.events import Event



class LiveLines:
    """Prints events as they come; trouble with standard error never ends a recording."""

    def __init__(self, start_ns: int, quiet: bool) -> None:
        self._lines: Any = None
        if not quiet:
            from virtio_trace.render.lines import Lines

            self._lines = Lines(start_ns)

    def show(self, events: Iterable[Event]) -> None:
        """Print EVENTS; when none came, what was held back for a call's end is printed."""
        if self._lines is None:
            return
        lines = [line for event in events for line in self._lines.add(event)]
        self._print(lines or self._lines.flush())

    def close(self) -> None:
        """Print what is still held back."""
        if self._lines is not None:
            self._print(self._lines.flush())

    def _print(self, lines: list[str]) -> None:
        with contextlib.suppress(OSError):
            for line in lines:
                print(line, file=sys.stderr)
