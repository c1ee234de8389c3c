# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C, SIGTERM and SIGHUP while something is armed: noted while recording, else raised."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, the three signals raise KeyboardInterrupt until collect() is called; from then
    on they are noted in ``received`` only, so that a recording is ended in order.

    Python swallows what is raised where nobody can take it: in finalizers, in callbacks of C code
    and around a fork. So whoever goes on for long asks check() whether one was."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._collecting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def collect(self) -> None:
        """From now on, note and do not raise. Raises KeyboardInterrupt for one before."""
        self._collecting = True
        self.check()

    def check(self) -> None:
        """Raises KeyboardInterrupt where a signal came and we are still there."""
        if self.received is not None:
            raise KeyboardInterrupt(self.received)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        if not self._collecting:
            self._collecting = True  # a second one must not cut the cleaning up short
            raise KeyboardInterrupt(number)
