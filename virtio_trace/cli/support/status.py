# SPDX-License-Identifier: GPL-2.0-or-later
"""The last line of the terminal: what is under way and for how long. Other output goes above it.

Where standard error is no terminal, a step that takes a while is one line, printed once.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

from virtio_trace.cli.support import terminal
from virtio_trace.render.escape import escape
from virtio_trace.tracer.session.signals import held

SLOW_SECONDS = 0.5
"""A step that takes less is not mentioned."""

_TICK_SECONDS = 0.1
_BAR = 20
_CLEAR = "\r\x1b[K"

_lock = threading.RLock()
_shown: StatusLine | None = None


class StatusLine:
    """A context manager. One at a time draws; inside another one it does nothing.

    A thread draws it, so that it also moves while the main thread waits. Errors of standard error
    are ignored.
    """

    def __init__(self) -> None:
        self._out: TextIO | None = sys.stderr
        self._terminal = self._out is not None and terminal.is_live(self._out)
        self._what = ""
        self._done: float | None = None
        self._count = ""
        self._began = 0.0
        self._drawn = ""
        self._said = True
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StatusLine:
        global _shown  # noqa: PLW0603 there is one terminal
        if _shown is not None or self._out is None:
            return self
        _shown = self
        self._thread = threading.Thread(target=self._run, daemon=True)
        # A signal must reach the main thread, which may hold it back; a thread inherits the mask.
        with held():
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _shown  # noqa: PLW0603
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        with _lock:
            self._erase()
            _shown = None

    def step(self, what: str, done: float | None = None, count: str = "") -> None:
        """WHAT is under way; DONE from 0.0 to 1.0 makes a bar, COUNT is shown after it. An empty
        WHAT shows nothing."""
        with _lock:
            if what != self._what:
                self._what, self._began, self._said = what, time.monotonic(), not what
            self._done, self._count = done, count

    def _run(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            with _lock:
                self._draw()

    def _draw(self) -> None:
        seconds = time.monotonic() - self._began
        if self._terminal:
            text = self._line(seconds)
            if text != self._drawn:
                self._write(f"{_CLEAR}{text}" if text else _CLEAR)
                self._drawn = text
        elif not self._said and seconds > SLOW_SECONDS:
            self._said = True
            self._write(f"virtio-trace: {escape(self._what)}…\n")

    def _line(self, seconds: float) -> str:
        if not self._what:
            return ""
        assert self._out is not None
        width = (terminal.width_of(self._out) or 80) - 1
        time_ = f"  {_clock(seconds)}" if seconds >= 1 else ""
        bar = "" if self._done is None else f" {bar_of(self._done)}"
        tail = f"{bar}{' ' + self._count if self._count else ''}{time_}"
        head = f"virtio-trace: {escape(self._what)}…"
        if len(head) + len(tail) > width:
            head = head[: max(width - len(tail) - 1, 0)].rstrip("…") + "…"
        return f"{head}{tail}"[:width]

    def _erase(self) -> None:
        if self._drawn:
            self._write(_CLEAR)
            self._drawn = ""

    def _write(self, text: str) -> None:
        assert self._out is not None
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text)
            self._out.flush()


@contextlib.contextmanager
def above() -> Iterator[None]:
    """While the body prints to standard error or output, the status line is not there."""
    with _lock:
        if _shown is not None:
            _shown._erase()
        yield


def step(what: str, done: float | None = None, count: str = "") -> None:
    """StatusLine.step of the one that is shown, if any."""
    if _shown is not None:
        _shown.step(what, done, count)


@contextlib.contextmanager
def during(what: str) -> Iterator[Callable[[str], None]]:
    """WHAT is under way while the body runs. Gives a function that replaces the count after it."""
    with StatusLine():
        step(what)
        try:
            yield lambda count: step(what, None, count)
        finally:
            step("")


def bar_of(done: float) -> str:
    """DONE, from 0.0 to 1.0: ``[#####---------------]  25%``."""
    part = min(max(done, 0.0), 1.0)
    full = int(part * _BAR)
    return f"[{'#' * full}{'-' * (_BAR - full)}] {int(part * 100):3d}%"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}" if whole >= 60 else f"{whole} s"
