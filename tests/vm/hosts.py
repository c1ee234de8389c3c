# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's part in every guest of a matrix that is running: answers what each asks (qmp.py)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.vm import qmp

_MOST = 32


class Hosts:
    """Of the matrix in FOLDER, whose QEMUs have the sockets qmp and go beside their console."""

    def __init__(self, folder: Path, answer: qmp.Answer) -> None:
        self._folder, self._answer = folder, answer
        self._monitors: dict[Path, qmp.Monitor] = {}
        self._serving: list[Future[None]] = []

    def answers(self, kernel: str, board: str, number: int) -> dict[str, Any]:
        """What was answered in the last attempt of a case."""
        of = self._folder / "cases" / kernel / board / f"{number}.part"
        last = sorted(place for place in self._monitors if place.parent == of)
        return self._monitors[last[-1]].answers if last else {}

    def watch(self, over: threading.Event) -> None:
        """Serves every guest that there is until OVER."""
        with ThreadPoolExecutor(_MOST) as pool:
            while not over.wait(0.1):
                for console in self._folder.glob("cases/*/*/*.part/attempt-*/console.txt"):
                    if console.parent not in self._monitors:
                        monitor = self._monitors[console.parent] = qmp.Monitor(console.parent)
                        serve = monitor.serve
                        self._serving.append(pool.submit(serve, console, self._answer, over))


@contextmanager
def serving(folder: Path, answer: qmp.Answer) -> Iterator[Hosts]:
    """While the body runs a matrix in FOLDER, does what its guests ask for."""
    hosts, over = Hosts(folder, answer), threading.Event()
    thread = threading.Thread(target=hosts.watch, args=[over])
    thread.start()
    try:
        yield hosts
    finally:
        over.set()
        thread.join()
