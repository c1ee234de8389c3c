# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C, SIGTERM and SIGHUP while probes are armed: raised while arming, noted while recording."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Ended by a signal; its argument is the signal's number.

    Not KeyboardInterrupt itself: if that leaves an exec(), as in an import that defines a
    dataclass, ``python3 -m`` ends by SIGINT although it was caught (CPython, Python/pythonrun.c
    run_eval_code_obj, Modules/main.c Py_RunMain).
    """


class Interrupts:
    """While entered, the three signals raise Interrupted until collect() is called. After
    that they only set ``received``, so that a recording ends in order.

    Python cannot pass on an exception that is raised in a finalizer, in a callback from C code, or
    around a fork: it prints it and goes on. We keep it from being printed, and code that runs for
    long calls check().
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._collecting = False
        self._handlers: dict[int, Any] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Interrupts:
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._not_raised
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                self._handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._unraisable

    def collect(self) -> None:
        """From now on, note signals and do not raise. Raises Interrupted if one came."""
        self._collecting = True
        self.check()

    def check(self) -> None:
        """Raises Interrupted if a signal came before and did not end us."""
        if self.received is not None:
            raise Interrupted(self.received)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        if not self._collecting:
            self._collecting = True  # a second signal must not interrupt the clean-up
            raise Interrupted(number)

    def _not_raised(self, unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._unraisable(unraisable)
