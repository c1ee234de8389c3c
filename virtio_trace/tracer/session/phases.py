# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time to arm goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class PhaseClock:
    """Seconds by phase, for ``record -v`` and the bench. BEGAN is told of each phase."""

    def __init__(self, began: Callable[[str], None] = lambda _name: None) -> None:
        self.seconds: dict[str, float] = {}
        self._began = began

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the body to phase NAME."""
        self._began(name)
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
