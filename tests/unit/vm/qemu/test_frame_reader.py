# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames from a guest: whole, cut anywhere, damaged, hostile."""

from __future__ import annotations

import itertools
import random
import struct
import time
import zlib

import pytest

from virtio_trace.tracer.executor import frames
from virtio_trace.tracer.executor.frames import CHECKSUM, HEADER, HEADER_BYTES, FrameEncoder
from virtio_trace.tracer.executor.ring import split
from virtio_trace.vm.qemu import frame_reader
from virtio_trace.vm.qemu.frame_reader import FrameReader

SAID = b"\nvirtio-trace: recorder ended with status 0\n"
_GROUPS = [[b'{"seq":%d,"n":"%d"}\n' % (n, n**9) for n in range(g, g + 5)] for g in (1, 6, 11, 16)]
EVERY = list(itertools.chain(*_GROUPS))


def ring(*records: bytes) -> bytes:
    """RECORDS as they are in a BPF ring: each after its length, padded to 8 bytes."""
    return b"".join(struct.pack("<II", len(r), 0) + r + bytes(-len(r) % 8) for r in records)


def _stream() -> list[bytes]:
    """Four frames of five records each, and the end."""
    encoder = FrameEncoder()
    made = []
    for group in _GROUPS:
        assert encoder.add(ring(*group), len(group)) == b""
        made.append(encoder.flush())
    return [*made, encoder.end()]


class Heard:
    """A reader, and what it handed on."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.sections: list[bytes] = []
        self.text: list[bytes] = []
        self.losses: list[int] = []
        self.reader = FrameReader(self._take, self.text.append, self.losses.append)

    def _take(self, kind: int, data: bytes) -> None:
        if kind == frames.RECORDS:
            self.lines += split(data)
        elif kind == frames.SECTION:
            self.sections.append(data)
        else:
            assert (kind, data) == (frames.END, b"")


def read(data: bytes, size: int = 1 << 20) -> Heard:
    heard = Heard()
    for at in range(0, len(data), size):
        heard.reader.feed(data[at : at + size])
    heard.reader.close()
    return heard


def frame(
    data: bytes, items: int, *, kind: int = frames.RECORDS, flags: int = 0, sequence: int = 0,
    before: int = 0, length: int | None = None,
) -> bytes:  # fmt: skip
    """A frame with right checksums, whatever else is wrong."""
    size = len(data) if length is None else length
    head = HEADER.pack(frames.MAGIC, kind, flags, sequence, before, items, size, zlib.crc32(data))
    return head + CHECKSUM.pack(zlib.crc32(head)) + data


@pytest.mark.parametrize("size", [1, 2, 7, 33, 34, 64, 4096])
def test_frames_and_text_come_whole_however_they_are_cut(size: int) -> None:
    heard = read(b"".join(_stream()) + SAID, size)
    assert heard.lines == EVERY
    assert heard.text == [SAID[1:]]
    assert (heard.reader.lost, heard.reader.damaged) == (0, 0)


def test_every_flipped_byte_loses_its_frame_alone_and_is_counted() -> None:
    stream = b"".join(_stream())
    ends = list(itertools.accumulate(map(len, _stream())))
    for at in range(len(stream)):
        damaged = bytearray(stream)
        damaged[at] ^= 0x41
        heard = read(bytes(damaged) + SAID)
        hit = next(n for n, end in enumerate(ends) if at < end)
        kept = [line for n, group in enumerate(_GROUPS) if n != hit for line in group]
        assert heard.lines == kept, at
        # Without the end, how much is missing is not known.
        assert heard.reader.lost == (5 if hit < 4 else 1), at
        assert heard.text == [SAID[1:]], at


def test_every_cut_is_counted() -> None:
    """Bytes that are missing in the middle."""
    stream = b"".join(_stream())
    for at in range(len(stream) - 1):
        heard = read(stream[:at] + stream[at + 20 :] + SAID, 100)
        assert set(heard.lines) <= set(EVERY), at
        assert heard.text == [SAID[1:]], at
        missing = len(EVERY) - len(heard.lines)
        if at + 20 < len(stream) - HEADER_BYTES:
            assert heard.reader.lost == missing, at
        else:
            assert heard.reader.lost >= 1, at


def test_the_end_that_never_comes() -> None:
    """A guest that dies: what was whole is kept; a frame that was begun counts as lost."""
    stream = b"".join(_stream())
    ends = [0, *itertools.accumulate(map(len, _stream()))]
    for at in range(len(stream)):
        heard = read(stream[:at])
        whole = sum(end <= at for end in ends[1:])
        assert heard.lines == EVERY[: 5 * whole], at
        assert heard.reader.lost == (0 if at in ends else 1), at


@pytest.mark.parametrize("gone", [(0,), (1,), (0, 1), (1, 2), (0, 1, 2, 3)])
def test_frames_that_are_missing_are_counted(gone: tuple[int, ...]) -> None:
    made = [one for n, one in enumerate(_stream()) if n not in gone]
    heard = read(b"".join(made))
    assert heard.reader.lost == 5 * len(gone)
    assert len(heard.lines) == 20 - 5 * len(gone)


def test_a_frame_that_comes_twice_is_handed_on_once() -> None:
    made = _stream()
    heard = read(b"".join([made[0], made[1], made[0], made[1], *made[2:], made[3], made[4]]))
    assert heard.lines == EVERY
    assert heard.reader.lost == 0
    assert heard.reader.damaged == 4


def test_a_cut_frame_is_known_at_once_by_what_follows() -> None:
    """The host must not wait for the rest of a frame: the guest waits for the host."""
    made = _stream()
    for following in (made[1], SAID):
        heard = Heard()
        heard.reader.feed(made[0][:-10])
        heard.reader.feed(following)
        assert heard.lines or heard.text


def test_an_item_that_was_too_long_is_missed() -> None:
    encoder = FrameEncoder()
    made = encoder.add(ring(b"a\n"), 1) + encoder.add(ring(b"x" * frames.LARGEST), 1)
    heard = read(made + encoder.add(ring(b"b\n"), 1) + encoder.end())
    assert (heard.lines, heard.reader.lost) == ([b"a\n", b"b\n"], 1)


@pytest.mark.parametrize(
    "hostile",
    [
        frame(ring(b"a\n"), 2),
        frame(ring(b"a\n", b"bcd")[:-8], 2),
        frame(ring(b"a\n"), 1, kind=7),
        frame(ring(b"a\n"), 1, flags=4),
        frame(ring(b"a\n"), 1, flags=frames.COMPRESSED),
        frame(ring(b"a\n"), 1, length=frames.LARGEST + 1),
        frame(ring(b"a\n"), 1, length=17),
        frame(zlib.compress(ring(b"a\n")) + b"more", 1, flags=frames.COMPRESSED),
        frame(zlib.compress(ring(b"a\n") * 99)[:-8], 99, flags=frames.COMPRESSED),
        frame(zlib.compress(bytes(frames.LARGEST + 8)), 1 << 19, flags=frames.COMPRESSED),
    ],
)
def test_what_a_header_says_must_be_true(hostile: bytes) -> None:
    heard = read(hostile + frame(ring(b"b\n"), 1, sequence=1, before=1))
    assert (heard.lines, heard.reader.lost) == ([b"b\n"], 1)
    assert heard.reader.damaged


def test_a_bomb_is_not_unpacked() -> None:
    """100 MB of empty records in 100 KB: zlib must stop at the limit."""
    bomb = zlib.compress(bytes(100_000_000), 9)
    began = time.process_time()
    heard = read(frame(bomb, 4_000_000, flags=frames.COMPRESSED))
    assert time.process_time() - began < 2
    assert (heard.lines, heard.reader.lost) == ([], 1)


@pytest.mark.parametrize("before", [(0, (1 << 64) - 1), ((1 << 64) - 1, 0), (7, 3)])
def test_counts_that_cannot_be_are_bounded(before: tuple[int, int]) -> None:
    one, two = before
    heard = read(
        frame(ring(b"a\n"), 1, before=one) + frame(ring(b"b\n"), 1, sequence=1, before=two)
    )
    assert heard.lines == [b"a\n", b"b\n"]
    assert 0 < heard.reader.lost <= frame_reader.MOST_LOST


def test_a_number_that_jumps_hides_nothing() -> None:
    heard = read(frame(ring(b"a\n"), 1, sequence=(1 << 32) - 1) + b"".join(_stream()))
    assert heard.lines == [b"a\n"]
    assert heard.reader.lost >= 1


def test_hostile_headers_take_linear_time() -> None:
    """Each header promises 4 MiB: waiting for each, or checking each, would take minutes."""
    head = frame(b"", 0, length=frames.LARGEST)
    began = time.process_time()
    read(head * 20_000, 1 << 16)
    read(head * 20_000)
    read(frames.MAGIC * 100_000, 1 << 16)
    read(frame(frames.MAGIC * 200_000, 0), 1 << 16)
    assert time.process_time() - began < 10


def test_a_frame_in_small_pieces_takes_linear_time() -> None:
    data = ring(random.Random(1).randbytes(1_000_000))
    began = time.process_time()
    heard = read(frame(data, 1), 8)
    assert time.process_time() - began < 5
    assert len(heard.lines) == 1


def test_text_is_heard_and_all_else_is_not() -> None:
    made = _stream()
    text = b"noise\nvirtio-trace: until yes: x\n\n" + b"z" * 200_000 + b"\n"
    heard = read(text + b"".join(made) + b"\xf7V" + SAID)
    assert heard.text == [b"virtio-trace: until yes: x\n", SAID[1:]]
    assert heard.lines == EVERY
    assert heard.reader.lost == 0
    assert heard.reader.damaged >= 2


def test_a_section_has_no_items_and_its_loss_is_told() -> None:
    encoder = FrameEncoder()
    encoder.add(ring(b"a"), 1)
    first = encoder.section(b"look\n1\nx")
    second = encoder.section(b"look\n2\ny")
    heard = read(first + second + encoder.end())
    assert heard.sections == [b"look\n1\nx", b"look\n2\ny"]
    assert (heard.lines, heard.losses, heard.reader.lost) == ([b"a"], [], 0)
    damaged = bytearray(second)
    damaged[-1] ^= 1
    heard = read(first + bytes(damaged) + encoder.end())
    assert (heard.sections, heard.losses) == ([b"look\n1\nx"], [0])
    assert heard.reader.lost == 0
    assert heard.reader.damaged


def test_nothing_follows_the_end() -> None:
    end = b"".join(_stream())
    heard = read(end + frame(ring(b"more"), 1, sequence=9, before=20))
    assert heard.lines == EVERY
