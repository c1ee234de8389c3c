# SPDX-License-Identifier: GPL-2.0-or-later
"""The signals that end a recorder, held back while something is half done."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a person, a service manager and a terminal that goes away end a recorder with."""


@contextlib.contextmanager
def held() -> Iterator[None]:
    """While the body runs, this thread takes none of ENDING; what came is taken behind it.

    Python runs a handler, which may raise, between any two of its instructions: also between C
    code's return of a descriptor and the line that would keep it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
