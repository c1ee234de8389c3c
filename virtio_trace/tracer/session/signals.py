# SPDX-License-Identifier: GPL-2.0-or-later
"""The signals that end a recorder, and how to hold them back while something is half done."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent by a person, a service manager, and a terminal that is closed."""


@contextlib.contextmanager
def held() -> Iterator[None]:
    """While the body runs, this thread gets none of ENDING; pending ones are delivered after it.

    Python may run a handler, which may raise, between any two of its instructions: also between
    the return of a descriptor from C code and the line that stores it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
