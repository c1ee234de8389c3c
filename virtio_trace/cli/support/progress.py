# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fetched or built, on the status line: a bar where the size is known, and the time."""

from __future__ import annotations

from types import TracebackType

from virtio_trace.cli.support.status import StatusLine


class ProgressBar:
    """A callback for progress: one task after another; between them, the stage that they are of."""

    def __init__(self) -> None:
        self._line = StatusLine()
        self._stage = ""

    def __enter__(self) -> ProgressBar:
        self._line.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def __call__(self, what: str, done: float | None) -> None:
        """Task WHAT has reached DONE, from 0.0 to 1.0; None if that is unknown."""
        if done is not None and done >= 1:
            self._line.step(self._stage)
        else:
            self._line.step(what, done)

    def stage(self, what: str, count: str = "") -> None:
        """WHAT is under way, and its size is not known; COUNT is shown after it."""
        self._stage = what
        self._line.step(what, None, count)
