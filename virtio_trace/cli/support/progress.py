# SPDX-License-Identifier: GPL-2.0-or-later
"""A progress bar while files are fetched or built; a line if there is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

import click

from virtio_trace.cli.support.say import say


class ProgressBar:
    """A callback for progress: one bar for each task, one after another."""

    def __init__(self) -> None:
        self._what: str | None = None
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def __call__(self, what: str, done: float | None) -> None:
        """Task WHAT has reached DONE, from 0.0 to 1.0; None if that is unknown."""
        if what != self._what:
            self._end()
            self._begin(what)
        if self._bar is not None and done is not None:
            percent = int(done * 100)
            if percent > self._done:
                self._bar.update(percent - self._done)
                self._done = percent
            if done >= 1:
                self._end()

    def _begin(self, what: str) -> None:
        self._what, self._done = what, 0
        if sys.stderr.isatty():
            self._bar = click.progressbar(length=100, label=what, file=sys.stderr)
            self._bar.__enter__()
        else:
            say(what)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._what = self._bar = None
