# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames: how a guest sends its recording over a serial port.

A frame is a header and a payload of whole items, compressed by itself: damage loses the items of
one frame only, and ``before`` of the next one tells how many those were.

    offset size
         0    4  MAGIC
         4    1  kind: RECORDS, END, SECTION
         5    1  flags: COMPRESSED (zlib)
         6    4  sequence: of the frame, from 0
        10    8  before: number of items in all frames before this one
        18    4  items: number of items in this one
        22    4  length of the payload in bytes
        26    4  CRC-32 of the payload
        30    4  CRC-32 of the 30 bytes before it

All numbers are little-endian. vm/qemu/frame_reader.py reads them.

This room runs in guests where nothing else of ours is installed: it imports a few modules of the
standard library, and nothing of the other rooms.
"""

from __future__ import annotations

import struct
import zlib

MAGIC = b"\xf7VT\x01"
HEADER = struct.Struct("<4sBBIQIII")
CHECKSUM = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CHECKSUM.size

RECORDS = 1
"""The payload is a piece of a BPF ring buffer (ring.py), and an item a record in it."""
END = 2
"""The last frame: no payload; ``before`` is the number of all items."""
SECTION = 3
"""The payload is a section: a line with its name, one with the time, and text. It has no item."""

COMPRESSED = 1

FULL = 48 << 10
"""Bytes of items that fill a frame. zlib's window is 32 KiB: larger frames gain little."""
LARGEST = 4 << 20
"""The most bytes of items that a frame may have: a longer item is not sent, and so counts as
lost."""

_LEVEL = 3
"""zlib's: of events it takes no longer than 1, and makes a frame a sixth smaller; 6 takes twice as
long (measured)."""


_SMALL = 256
"""Bytes that are sent as they are: zlib clears 256 KB of tables for every frame."""


class FrameEncoder:
    """Makes frames out of items, which are records. It keeps them until there are FULL bytes."""

    def __init__(self) -> None:
        self._sequence = 0
        self._before = 0
        self._pending: list[bytes] = []
        self._size = 0
        self._items = 0

    @property
    def is_empty(self) -> bool:
        """Whether no item is kept."""
        return not self._items

    def add(self, data: bytes, items: int) -> bytes:
        """Add DATA, which is ITEMS whole items. Return the frame or frames that are full."""
        frames = b""
        if self._size + len(data) > LARGEST:
            frames = self.flush()
        if len(data) > LARGEST:
            self.skip(items)
            return frames
        self._pending.append(data)
        self._size += len(data)
        self._items += items
        return frames + self.flush() if self._size >= FULL else frames

    def skip(self, items: int) -> None:
        """Count ITEMS that cannot be sent: the reader finds that they are missing."""
        assert self.is_empty
        self._before += items

    def flush(self) -> bytes:
        """The items that are kept, as a frame; b"" if there are none."""
        if self.is_empty:
            return b""
        data = b"".join(self._pending)
        frame = self._frame(RECORDS, data, self._items)
        self._before += self._items
        self._pending, self._size, self._items = [], 0, 0
        return frame

    def section(self, data: bytes) -> bytes:
        """The items that are kept, as a frame, and after it one with the section DATA."""
        return self.flush() + self._frame(SECTION, data[:LARGEST], 0)

    def end(self) -> bytes:
        """The last frames: the items that are kept, and the end."""
        return self.flush() + self._frame(END, b"", 0)

    def _frame(self, kind: int, data: bytes, items: int) -> bytes:
        flags = 0
        if len(data) >= _SMALL:
            packed = zlib.compress(data, _LEVEL)
            if len(packed) < len(data):
                data, flags = packed, COMPRESSED
        head = HEADER.pack(
            MAGIC, kind, flags, self._sequence, self._before, items, len(data), zlib.crc32(data)
        )
        self._sequence += 1
        return head + CHECKSUM.pack(zlib.crc32(head)) + data
