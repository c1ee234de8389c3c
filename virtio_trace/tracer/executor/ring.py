# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a BPF ring buffer (kernel/bpf/ringbuf.c; Documentation/bpf/ringbuf.rst)."""

from __future__ import annotations

import mmap
import struct

HEADER = 8
"""Bytes in front of each record: its length with two flags, and an offset for the kernel."""

_BUSY, _DISCARDED = 1 << 31, 1 << 30
# Native, not "<": that copies byte by byte, and half of a position could be read.
_LENGTH = struct.Struct("I")
_POSITION = struct.Struct("Q")


class Ring:
    """The ring of SIZE bytes (a power of two) behind DESCRIPTOR, which stays the caller's."""

    def __init__(self, descriptor: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._mask = size - 1
        self._page = page
        self._consumer = mmap.mmap(descriptor, page)
        # A memoryview stores an item whole. struct.pack_into clears its place first (CPython's
        # Modules/_struct.c, s_pack_internal), and a program that reads 0 finds the ring full
        # (kernel/bpf/ringbuf.c, __bpf_ringbuf_reserve).
        self._position = memoryview(self._consumer).cast("Q")
        # The data is mapped twice in a row, so that no record is cut at the end.
        self._producer = mmap.mmap(descriptor, page + 2 * size, prot=mmap.PROT_READ, offset=page)

    def close(self) -> None:
        """Unmap it."""
        self._position.release()
        self._consumer.close()
        self._producer.close()

    @property
    def produced(self) -> int:
        """Bytes that programs have put into it so far."""
        return int(_POSITION.unpack_from(self._producer)[0])

    def take(self, most: int = 1 << 20) -> tuple[bytes, int]:
        """What is ready, about MOST bytes: records with their headers, padded to 8 bytes, and how
        many. split() takes them apart.

        A record that is being written ends it. The kernel publishes a length after its data
        (smp_store_release); what this interpreter executes between two loads keeps their order.
        """
        start = at = self._position[0]
        end = min(self.produced, start + most)
        data, base, mask, count = self._producer, self._page, self._mask, 0
        while at < end:
            (length,) = _LENGTH.unpack_from(data, base + (at & mask))
            if length & _BUSY:
                break
            count += not length & _DISCARDED
            at += (length & ~_DISCARDED) + HEADER + 7 & ~7
        if at == start:
            return b"", 0
        place = base + (start & mask)
        taken = data[place : place + at - start]
        self._position[0] = at
        return taken, count


def split(taken: bytes) -> list[bytes]:
    """The records in what take() gave. Damaged lengths end the list."""
    records = []
    at = 0
    while at + HEADER <= len(taken):
        (word,) = _LENGTH.unpack_from(taken, at)
        length = word & ~(_BUSY | _DISCARDED)
        if at + HEADER + length > len(taken):
            break
        if not word & _DISCARDED:
            records.append(taken[at + HEADER : at + HEADER + length])
        at += length + HEADER + 7 & ~7
    return records
