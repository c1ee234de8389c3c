# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a function in a thread while its caller does something else.

concurrent.futures does the same, but its import takes longer than unpacking most files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class BackgroundRead(Generic[_T]):
    """Calls DO in a thread, at once. The process may exit before DO returns."""

    def __init__(self, do: Callable[[], _T]) -> None:
        self._do = do
        self._found: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._do())
        except BaseException as error:  # for result() to raise
            self._error = error

    def result(self) -> _T:
        """Wait for DO and return its result; raises what DO raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]
