# SPDX-License-Identifier: GPL-2.0-or-later
"""Events on standard error while recording, whether or not it is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from virtio_trace.cli.support import status, terminal
from virtio_trace.cli.support.say import say
from virtio_trace.recording.events import Event
from virtio_trace.recording.evidence import Evidence
from virtio_trace.render.concern import Concern

if TYPE_CHECKING:
    from virtio_trace.render.lines import Lines


class LiveLines:
    """Prints events as they happen: those that concern VirtIO, with EVERYTHING all of them.

    Bits of the status and of features are names, as in ``script``. SHOWS says which of the events
    are asked for. EVIDENCE says which modules are VirtIO's. Errors of
    standard error never end a recording.
    """

    def __init__(
        self,
        quiet: bool,
        evidence: Evidence,
        everything: bool = False,
        shows: Callable[[Event], bool] | None = None,
    ) -> None:
        self._shows = shows
        out = sys.stderr
        self._lines: Lines | None = None
        self._concern = None if everything else Concern(evidence)
        if not quiet and out is not None:
            from virtio_trace.render.lines import Lines  # noqa: PLC0415 - slow; now all is armed

            paint = terminal.paint_for(out)
            self._lines = Lines(
                terminal.width_of(out), paint=paint, concern=self._concern, names=True
            )

    def show(self, events: Sequence[Event]) -> None:
        """Print EVENTS. If there are none, print the call whose end was awaited."""
        if self._lines is not None:
            shown = [*filter(self._shows, events)] if self._shows is not None else events
            lines = [line for event in shown for line in self._lines.add(event)]
            self._print(lines if events else self._lines.flush())

    def close(self) -> None:
        """Print the call whose end was awaited, if any, and how many events were not shown."""
        if self._lines is None:
            return
        self._print(self._lines.flush())
        others = self._concern.summary() if self._concern is not None else ""
        if others:
            say(f"-v shows {others}")
        self._lines = None

    def _print(self, lines: list[str]) -> None:
        if not lines:
            return
        with status.above(), contextlib.suppress(OSError):
            for line in lines:
                print(line, file=sys.stderr)
