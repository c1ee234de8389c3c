# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of a BPF ring buffer, on a file with the same layout."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtio_trace.tracer.executor.ring import Ring, split

SIZE = mmap.PAGESIZE
START = 0x12_3456_7000
"""Neither half is 0, and it is at the start of the data."""
DISCARDED, BUSY = 1 << 30, 1 << 31
_TRACEME, _SINGLESTEP = 0, 9  # include/uapi/linux/ptrace.h


@pytest.fixture
def descriptor() -> Iterator[int]:
    """A page with the consumer's position, one with the producer's, and the data twice."""
    memory = os.memfd_create("ring")
    os.truncate(memory, 2 * mmap.PAGESIZE + 2 * SIZE)
    yield memory
    os.close(memory)


@pytest.fixture
def ring(descriptor: int) -> Iterator[Ring]:
    made = Ring(descriptor, SIZE)
    yield made
    made.close()


def put(memory: int, *records: bytes, start: int = START, flags: int = 0) -> int:
    """Store RECORDS from position START on, as a program does. Returns the new position."""
    data = b"".join(
        struct.pack("=II", len(record) | flags, 0) + record + bytes(-len(record) % 8)
        for record in records
    )
    for n, byte in enumerate(data):
        place = 2 * mmap.PAGESIZE + (start + n) % SIZE
        os.pwrite(memory, bytes([byte]), place)
        os.pwrite(memory, bytes([byte]), place + SIZE)
    os.pwrite(memory, struct.pack("=Q", start), 0)
    os.pwrite(memory, struct.pack("=Q", start + len(data)), mmap.PAGESIZE)
    return start + len(data)


def consumed(memory: int) -> int:
    return int.from_bytes(os.pread(memory, 8, 0), "little")


def stepped(action: Callable[[], object], look: Callable[[], int]) -> list[int]:
    """The values of LOOK after each instruction of ACTION, which runs in a child; repeated values
    once."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if libc.ptrace(_TRACEME, 0, None, None) == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
                action()
                status = 0
        finally:
            os._exit(status)
    seen = [look()]
    status = os.waitpid(child, 0)[1]
    while os.WIFSTOPPED(status):
        assert libc.ptrace(_SINGLESTEP, child, None, None) == 0
        status = os.waitpid(child, 0)[1]
        if (value := look()) != seen[-1]:
            seen.append(value)
    assert status == 0
    return seen


def test_the_position_is_stored_in_one_instruction(ring: Ring, descriptor: int) -> None:
    """Whenever the reader is preempted, a program finds a position that is true: else the ring
    would be full for it, and events lost."""
    end = put(descriptor, b"record")
    assert stepped(ring.take, lambda: consumed(descriptor)) == [START, end]


def test_what_is_ready_is_taken_once(ring: Ring, descriptor: int) -> None:
    end = put(descriptor, b"a", b"12345678")
    taken, count = ring.take()
    assert (split(taken), count, consumed(descriptor)) == ([b"a", b"12345678"], 2, end)
    assert ring.take() == (b"", 0)
    assert ring.produced == end


def test_a_record_at_the_end_of_the_data_is_whole(ring: Ring, descriptor: int) -> None:
    put(descriptor, b"123456789", start=START - 8)
    assert split(ring.take()[0]) == [b"123456789"]


def test_discarded_records_are_not_counted(ring: Ring, descriptor: int) -> None:
    end = put(descriptor, b"gone", b"gone too", flags=DISCARDED)
    taken, count = ring.take()
    assert (split(taken), count, consumed(descriptor)) == ([], 0, end)


def test_a_record_that_is_being_written_stays(ring: Ring, descriptor: int) -> None:
    put(descriptor, b"half", flags=BUSY)
    assert ring.take() == (b"", 0)
    assert consumed(descriptor) == START


def test_after_closing_nothing_is_mapped(ring: Ring) -> None:
    ring.close()
    assert "memfd:ring" not in Path("/proc/self/maps").read_text()
