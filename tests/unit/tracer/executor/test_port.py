# SPDX-License-Identifier: GPL-2.0-or-later
"""The writer to a serial port: never in the caller's way until its bound is reached."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import threading
import time
import tty
from collections.abc import Iterator

import pytest

from virtio_trace.tracer.executor.port import PortWriter, write_all

PIECES = [bytes([n]) * 10_000 for n in range(1, 101)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    here, there = os.pipe()
    yield here, there
    for end in (here, there):
        with contextlib.suppress(OSError):
            os.close(end)


def drained(handle: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(handle, 1 << 16)
    return data


def test_the_caller_does_not_wait(pipe: tuple[int, int]) -> None:
    port = PortWriter(pipe[1])
    for piece in PIECES:  # a megabyte, and nobody reads
        port.write(piece)
    assert port.queued >= 1_000_000 - (1 << 16) - 10_000
    assert drained(pipe[0], 1_000_000) == b"".join(PIECES)
    port.close()
    assert port.queued == 0


def test_at_the_bound_it_waits(pipe: tuple[int, int]) -> None:
    port = PortWriter(pipe[1], bound=100_000)
    written: list[int] = []

    def produce() -> None:
        for number, piece in enumerate(PIECES):
            port.write(piece)
            written.append(number)

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.5)
    assert len(written) < len(PIECES)
    assert port.queued <= 110_000
    assert drained(pipe[0], 1_000_000) == b"".join(PIECES)
    thread.join(10)
    assert len(written) == len(PIECES)
    port.close()


def test_an_error_is_told(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    port = PortWriter(pipe[1], bound=100)
    with pytest.raises(BrokenPipeError):
        for _ in range(1000):
            port.write(b"x" * 200)
    with pytest.raises(BrokenPipeError):
        port.close()


def test_a_port_that_does_not_block(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    port = PortWriter(pipe[1])
    port.write(b"".join(PIECES))
    assert drained(pipe[0], 1_000_000) == b"".join(PIECES)
    port.close()


def test_short_writes_of_a_terminal() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    port = PortWriter(theirs)
    for piece in PIECES:
        port.write(piece)
    assert drained(ours, 1_000_000) == b"".join(PIECES)
    port.close()
    os.close(ours)
    os.close(theirs)


def test_signals_do_not_cut_a_write(pipe: tuple[int, int]) -> None:
    hits: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: hits.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    found: list[bytes] = []

    def read() -> None:
        time.sleep(0.2)
        found.append(drained(pipe[0], 1_000_000))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        write_all(pipe[1], b"".join(PIECES))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    thread.join(10)
    assert found == [b"".join(PIECES)]
    assert hits
