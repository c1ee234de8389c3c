# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the frames of tracer/executor/frames.py, and the text between them, from a guest's port.

The bytes are a guest's, and not trusted: every number in them is bounded, and nothing that they
say raises an error. Damage costs the frames that it hits. What was in them is counted by the next
frame's ``before``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from virtio_trace.tracer.executor.frames import (
    CHECKSUM,
    COMPRESSED,
    END,
    HEADER,
    HEADER_BYTES,
    LARGEST,
    MAGIC,
    RECORDS,
    SECTION,
)
from virtio_trace.tracer.executor.ring import split

TEXT = b"virtio-trace: "
"""How a line begins that the guest's scripts print between frames. Other text is dropped."""
_TEXT_BEGINS = b"\n" + TEXT

_LONGEST_TEXT = 1 << 16
MOST_LOST = 1 << 48
"""The count of lost items stops here, as ``before`` may be any number."""


@dataclass(frozen=True, slots=True)
class _Header:
    kind: int
    is_compressed: bool
    sequence: int
    before: int
    items: int
    length: int
    checksum: int


class FrameReader:
    """Bytes, cut anywhere, to frames. ON_FRAME gets the kind and the payload of each. ON_TEXT gets
    each line that begins with TEXT, its newline included. ON_LOST gets the number of items that are
    missing before the next frame; 0: a frame without items is.

    ``lost``: items known to be missing. ``damaged``: frames, and pieces between frames, that could
    not be used.
    """

    def __init__(
        self,
        on_frame: Callable[[int, bytes], None],
        on_text: Callable[[bytes], None],
        on_lost: Callable[[int], None] = lambda _items: None,
    ) -> None:
        self._on_frame = on_frame
        self._on_text = on_text
        self._on_lost = on_lost
        self._rest = bytearray()
        self._searched = 0
        """Where in the rest to search on for what shows that its first frame was cut."""
        self._text = bytearray()
        self._sequence = 0
        self._next = 0
        """How many items there were up to here: the next frame's ``before``."""
        self._suspect = False
        """Whether damage was met since the last good frame."""
        self._ended = False
        self.lost = 0
        self.damaged = 0

    def feed(self, data: bytes) -> None:
        """Consume bytes as they come."""
        self._rest += data
        self._parse(at_end=False)

    def close(self) -> None:
        """The end: a frame that was cut is lost, and counts as one item at least."""
        self._parse(at_end=True)
        self._end_text()
        if self._suspect and not self._ended:
            self._lose(1)

    def _parse(self, at_end: bool) -> None:
        rest, at = self._rest, 0
        while at < len(rest):
            start = rest.find(MAGIC, at)
            if start < 0:
                # The end of the rest may be the beginning of a frame.
                keep = 0 if at_end else _overlap(rest, MAGIC)
                self._between(rest[at : len(rest) - keep])
                at = len(rest) - keep
                break
            self._between(rest[at:start])
            at = start
            header = _header(rest, at)
            if header is None and len(rest) - at < HEADER_BYTES and not at_end:
                break
            whole = at + HEADER_BYTES + header.length if header else 0
            if header is None or self._is_cut(at, min(whole, len(rest))):
                at = self._drop(at)
            elif whole <= len(rest):
                good = self._frame(header, bytes(rest[at + HEADER_BYTES : whole]))
                at = whole if good else self._drop(at)
                self._searched = 0
            elif at_end:
                at = self._drop(at)
            else:
                break
        del rest[:at]
        self._searched = max(0, self._searched - at)

    def _drop(self, at: int) -> int:
        """What seems to begin AT is no frame, or a damaged one. Returns where to go on."""
        self.damaged += 1
        self._suspect = True
        self._searched = 0
        self._text.clear()
        return at + 1

    def _is_cut(self, at: int, end: int) -> bool:
        """Whether something begins within the frame AT that cannot be in a frame, up to END: then
        the frame was cut short, and it is not worth waiting for its end."""
        rest = self._rest
        place = max(at + HEADER_BYTES, self._searched - HEADER_BYTES)
        if rest.find(_TEXT_BEGINS, place, end) >= 0:
            return True
        while (place := rest.find(MAGIC, place, end)) >= 0:
            if _header(rest, place) is not None:
                return True
            place += 1
        self._searched = end
        return False

    def _frame(self, header: _Header, payload: bytes) -> bool:
        """Hands a frame on. Returns False if its content is not what its header says."""
        if zlib.crc32(payload) != header.checksum:
            return False
        data = _unpacked(payload) if header.is_compressed else payload
        if data is None or header.items != (len(split(data)) if header.kind == RECORDS else 0):
            return False
        if self._text:
            self._end_text()
        if header.sequence < self._sequence or self._ended:
            self.damaged += 1  # it came before
            self._suspect = True
            return True
        missing = header.before - self._next
        if missing or header.sequence != self._sequence:
            # A number that went back is no count.
            self._lose(missing if missing >= 0 else 1)
        self._sequence = header.sequence + 1
        self._next = header.before + header.items
        self._suspect = False
        self._ended = header.kind == END
        self._on_frame(header.kind, data)
        return True

    def _lose(self, items: int) -> None:
        self.lost = min(self.lost + items, MOST_LOST)
        self._on_lost(min(items, MOST_LOST))

    def _between(self, data: bytes | bytearray) -> None:
        """Bytes outside of frames: lines of text, or damage."""
        *lines, last = data.split(b"\n")
        for line in lines:
            self._text += line
            self._end_text()
        self._text += last
        del self._text[_LONGEST_TEXT:]

    def _end_text(self) -> None:
        line, self._text = bytes(self._text), bytearray()
        start = line.find(TEXT)
        if start != 0 and line.strip():
            self.damaged += 1
            self._suspect = True
        if start >= 0:
            self._on_text(line[start:] + b"\n")


def _header(data: bytearray, at: int) -> _Header | None:
    """The header AT; None if there is none that is whole and possible."""
    if len(data) - at < HEADER_BYTES:
        return None
    (checksum,) = CHECKSUM.unpack_from(data, at + HEADER.size)
    if zlib.crc32(data[at : at + HEADER.size]) != checksum:
        return None
    _, kind, flags, sequence, before, items, length, of_payload = HEADER.unpack_from(data, at)
    if (
        kind not in (RECORDS, END, SECTION)
        or flags & ~COMPRESSED
        or length > LARGEST
        or items > LARGEST
    ):
        return None
    return _Header(kind, bool(flags), sequence, before, items, length, of_payload)


def _unpacked(payload: bytes) -> bytes | None:
    """The payload's content, LARGEST bytes at most; None if it is not zlib's, or larger."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(payload, LARGEST + 1)
    except zlib.error:
        return None
    whole = unpacker.eof and not unpacker.unused_data and len(data) <= LARGEST
    return data if whole else None


def _overlap(data: bytearray, mark: bytes) -> int:
    """How many bytes at the end of DATA are the beginning of MARK."""
    return next((n for n in range(len(mark) - 1, 0, -1) if data.endswith(mark[:n])), 0)
