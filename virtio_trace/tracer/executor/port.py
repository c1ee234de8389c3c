# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes to a serial port in a thread, so that its speed is not that of the recorder.

A write to a terminal returns when all bytes but the last few are sent. The thread waits for that
without the interpreter's lock, and frames queue up meanwhile.
"""

from __future__ import annotations

import _thread
import posix
import select

BOUND = 16 << 20
"""Bytes that wait for the port at most. After that the caller waits too, and the kernel's ring,
which then fills, counts what it loses."""


class PortWriter:
    """Writes to the file descriptor of a port, in order. ``queued``: bytes that are not written.

    An error of the port is raised by the next write() or close(), as OSError.
    """

    def __init__(self, descriptor: int, bound: int = BOUND) -> None:
        self._descriptor = descriptor
        self._bound = bound
        self._frames: list[bytes | None] = []
        self._filled = _locked()
        """Released when there are frames. The module _queue would be one more library to load."""
        self._guard = _thread.allocate_lock()
        """Held while ``_frames``, ``queued``, ``_waits`` and ``_error`` change."""
        self._waits = False
        self._room = _locked()
        self._ended = _locked()
        self._error: OSError | None = None
        self.queued = 0
        _thread.start_new_thread(self._run, ())

    def write(self, data: bytes) -> None:
        """Queue DATA. Wait only while more than the bound is queued."""
        while True:
            with self._guard:
                if self._error is not None:
                    raise self._error
                if self.queued < self._bound:
                    self.queued += len(data)
                    break
                self._waits = True
            self._room.acquire()
        self._put(data)

    def close(self) -> None:
        """Wait until all is written. The descriptor stays open."""
        self._put(None)
        self._ended.acquire()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (data := self._get()) is not None:
                if self._error is None:
                    self._write(data)
                with self._guard:
                    self.queued -= len(data)
                    self._wake()
        finally:
            self._ended.release()

    def _put(self, data: bytes | None) -> None:
        with self._guard:
            self._frames.append(data)
            if self._filled.locked():
                self._filled.release()

    def _get(self) -> bytes | None:
        self._filled.acquire()
        with self._guard:
            data = self._frames.pop(0)
            if self._frames and self._filled.locked():
                self._filled.release()
        return data

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            with self._guard:
                self._error = error

    def _wake(self) -> None:
        if self._waits:
            self._waits = False
            self._room.release()


def write_all(descriptor: int, data: bytes) -> None:
    """Write DATA, however little is accepted at a time. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[posix.write(descriptor, rest) :]
        except BlockingIOError:  # somebody has made it non-blocking
            select.select([], [descriptor], [])


def _locked() -> _thread.LockType:
    lock = _thread.allocate_lock()
    lock.acquire()
    return lock
