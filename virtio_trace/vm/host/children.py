# SPDX-License-Identifier: GPL-2.0-or-later
"""Child processes in sessions of their own, read within limits of time, silence and size.

A program may start others: mmdebstrap runs apt, apt runs its methods. Each child leads a session,
so all of them can be found, ended and waited for. A terminal's Ctrl-C does not reach them: we end
them. A program that fails and signals its own process group (mmdebstrap does) does not signal us.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

TERM_SECONDS = 5.0
"""How long a session may take to end after SIGTERM before it gets SIGKILL."""

_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_WAKE_SECONDS = 0.2


class LimitError(Exception):
    """A child went over a limit and was ended. The text says which."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds`` in all; ``stall``: seconds without news; ``output``: bytes of all its output."""

    seconds: float = 600.0
    stall: float | None = None
    output: int = 64 << 20


class Child(subprocess.Popen[bytes]):
    """A program that leads a session. ``with`` ends the whole session, however the block is left.

    Raises OSError where the program cannot be started.
    """

    def __init__(self, command: list[str], **options: Any) -> None:
        try:
            super().__init__(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        except BaseException:  # an interrupt between fork and return: nobody else knows the child
            if getattr(self, "pid", None) is not None:
                self.end()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None or self.poll() is None or _group_exists(self.pid):
            self.end()
        super().__exit__(kind, value, traceback)

    def end(self, term_seconds: float | None = None) -> None:
        """Ends every process of the session, by SIGTERM, then SIGKILL, and waits for them."""
        patience = TERM_SECONDS if term_seconds is None else term_seconds
        try:
            if patience > 0:
                self._signal(signal.SIGTERM, patience)
        finally:
            self._signal(signal.SIGKILL, _KILL_SECONDS)
            self.wait()

    def _signal(self, number: signal.Signals, seconds: float) -> None:
        """Sends NUMBER to the session and waits for its end, up to SECONDS."""
        deadline = time.monotonic() + seconds
        sent: set[int] = set()
        while True:
            self.poll()
            members = set(session(self.pid))
            for pid in members - sent:  # a process may have forked meanwhile
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            sent |= members
            if not members or time.monotonic() > deadline:
                return
            time.sleep(_POLL_SECONDS)


def session(leader: int) -> Iterator[int]:
    """The processes of session LEADER that still run, from /proc (proc_pid_stat(5))."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if len(fields) > 3 and fields[3] == str(leader) and fields[0] not in "ZX":
            yield int(path.parent.name)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def read(
    child: Child,
    sources: dict[str, int],
    limits: Limits,
    on_data: Callable[[str, bytes], bool],
    watch: Callable[[], str] = lambda: "",
) -> None:
    """Reads CHILD to its end. SOURCES names the descriptors of its output.

    ON_DATA gets a name and bytes, and returns whether they are news (see ``stall``). WATCH is
    called several times a second; it returns why CHILD must be ended, or "".

    Raises LimitError. The caller's ``with`` ends the child.
    """
    began = news = time.monotonic()
    size = 0
    with selectors.DefaultSelector() as selector:
        for name, descriptor in sources.items():
            selector.register(descriptor, selectors.EVENT_READ, name)
        while selector.get_map():
            for key, _ in selector.select(_WAKE_SECONDS):
                data = os.read(key.fd, 1 << 16)
                size += len(data)
                if not data:
                    selector.unregister(key.fd)
                elif on_data(key.data, data):
                    news = time.monotonic()
            if size > limits.output:
                raise LimitError(f"it wrote more than {limits.output >> 20} MiB")
            _check_time(limits, began, news, watch)
    while child.poll() is None:
        _check_time(limits, began, news, watch)
        time.sleep(_POLL_SECONDS)


def _check_time(limits: Limits, began: float, news: float, watch: Callable[[], str]) -> None:
    now = time.monotonic()
    if now - began > limits.seconds:
        raise LimitError(f"it had not ended after {limits.seconds:g} s")
    if limits.stall is not None and now - news > limits.stall:
        raise LimitError(f"it made no progress for {limits.stall:g} s")
    if reason := watch():
        raise LimitError(reason)
