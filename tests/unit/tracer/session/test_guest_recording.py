# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's recording from what its executor really sent: whole, cut, damaged, hostile."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests import framed
from tests.unit.tracer.session.guest_streams import Sender, scratch, task
from virtio_trace.check import verdict
from virtio_trace.check.findings import INCOMPLETE
from virtio_trace.errors import IncompleteError
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.tracer.executor import frames
from virtio_trace.tracer.session import guest_recording
from virtio_trace.tracer.session.guest_recording import GuestRecording
from virtio_trace.vm.qemu.frame_reader import FrameReader

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "executor-6.12"
SENT, TASK, LINES = framed.load(GOLDEN)


class Heard:
    """A recording and its lines, fed with what came from a port."""

    def __init__(self, what: guest_recording.GuestTask = TASK) -> None:
        self.lines: list[bytes] = []
        self.recording = GuestRecording(what, self.lines.append, scratch)
        self._frames = FrameReader(self._take, lambda _text: None, self.recording.lose)

    def _take(self, kind: int, data: bytes) -> None:
        if kind == frames.RECORDS:
            self.recording.records(data)
        elif kind == frames.SECTION:
            self.recording.section(data)
        else:
            self.recording.end()

    def feed(self, *pieces: bytes) -> Heard:
        for piece in pieces:
            self._frames.feed(piece)
        return self

    def close(self) -> list[bytes]:
        self._frames.close()
        return self.lines


def pieces() -> list[bytes]:
    """The frames of the golden stream."""
    starts, at = [], SENT.find(frames.MAGIC)
    while at >= 0:
        starts.append(at)
        length = frames.HEADER.unpack_from(SENT, at)[6]
        at = SENT.find(frames.MAGIC, at + frames.HEADER_BYTES + length)
    return [SENT[a:b] for a, b in zip(starts, [*starts[1:], len(SENT)], strict=True)]


def is_records(frame: bytes) -> bool:
    return frame[4] == frames.RECORDS


def without_host(line: bytes) -> Any:
    """LINE without what boot adds to a trailer, and with the tool's present version."""
    read = json.loads(line)
    read.pop("host", None)
    return {**read, "tool": ""} if "tool" in read else read


@pytest.mark.parametrize("size", [1 << 20, 61])
def test_what_was_sent_gives_the_recording_that_boot_made(size: int) -> None:
    heard = Heard().feed(*(SENT[at : at + size] for at in range(0, len(SENT), size)))
    assert list(map(without_host, heard.close())) == list(map(without_host, LINES))
    assert len(LINES) > 150


def test_each_frame_that_is_lost_is_counted_and_makes_it_incomplete() -> None:
    """But those that carry looks at the guest, or its log, which are no events."""
    made = pieces()
    records = [n for n, frame in enumerate(made) if is_records(frame)]
    assert len(records) > 5
    for number in sorted({*records[::3], *range(0, len(made) - 1, 9)}):
        gone = made[number]
        try:
            lines = Heard().feed(*made[:number], *made[number + 1 :]).close()
        except IncompleteError:
            assert not is_records(gone)
            continue
        if not lines:
            continue  # the section without which no recording can begin
        read = reader.read(lines, "x")
        assert read.trailer is not None
        assert read.trailer.lost >= (1 if not is_records(gone) else _items(gone)), number
        result = verdict.check(builder.build(read))
        assert result.verdict == INCOMPLETE


def _items(frame: bytes) -> int:
    return int(frames.HEADER.unpack_from(frame)[5])


def test_a_guest_that_dies_leaves_a_recording_that_was_cut() -> None:
    for at in range(len(SENT) - 200, 0, -len(SENT) // 12):
        lines = Heard().feed(SENT[:at]).close()
        if lines:
            read = reader.read(lines, "x")
            assert read.trailer is None
            assert verdict.check(builder.build(read)).verdict == INCOMPLETE


def test_flipped_bytes_never_raise_and_are_counted() -> None:
    random = Random(5)
    for _ in range(20):
        damaged = bytearray(SENT)
        for at in random.sample(range(len(SENT)), 2):
            damaged[at] ^= 1 << random.randrange(8)
        try:
            lines = Heard().feed(bytes(damaged)).close()
        except IncompleteError:
            continue
        if lines:
            read = reader.read(lines, "x")
            assert read.trailer is None or read.trailer.lost
            verdict.check(builder.build(read))


def begun(*more: bytes) -> list[bytes]:
    """The lines of a guest that sends MORE after it has begun, and its end."""
    guest = Sender()
    heard = Heard(task()).feed(guest.begin())
    for payload in more:
        heard.recording.section(payload)
    heard.recording.end()
    return heard.lines


def test_it_begins_once() -> None:
    guest = Sender()
    heard = Heard(task()).feed(guest.begin())
    with pytest.raises(IncompleteError, match="it began twice"):
        heard.feed(guest.section("ready"))


def test_it_ends_once_and_nothing_follows() -> None:
    guest = Sender()
    heard = Heard(task()).feed(guest.begin(), guest.encoder.end())
    count = len(heard.lines)
    assert count == 2
    heard.recording.end()
    heard.recording.records(bytes(64))
    heard.recording.section(b"ready\n1\n")
    assert len(heard.lines) == count


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("armed", ""), ("armed", "1"), ("armed", "a b"), ("armed", "9 1"), ("armed", "1 9\n0 1"),
        ("armed", "1 9\n999 1 0"), ("armed", "9" * 5000 + " 1"), ("armed", "1 9\n-1 1 0"),
    ],
)  # fmt: skip
def test_what_cannot_have_been_armed_ends_it(section: str, text: str) -> None:
    guest = Sender()
    heard = Heard(task())
    with pytest.raises(IncompleteError, match="the guest's output cannot be understood"):
        heard.feed(guest.section(section, text), guest.section("ready"))
    assert heard.lines == []


def test_a_status_of_5000_digits_is_none() -> None:
    lines = begun(b"end\n1\n" + b"9" * 5000)
    trailer = json.loads(lines[-1])
    assert (trailer["kind"], trailer["command_status"]) == ("trailer", 0)
    assert json.loads(begun(b"end\n1\n7")[-1])["command_status"] == 7


def test_counts_are_bounded() -> None:
    guest = Sender()
    heard = Heard(task()).feed(guest.begin())
    for _ in range(100):
        heard.recording.lose(1 << 48)
        heard.recording.lose(1 << 60)
    heard.recording.section(b"lost\n1\n" + b"9" * 18)
    heard.recording.end()
    read = reader.read(heard.lines, "x")
    assert read.trailer is not None
    assert read.trailer.lost > 1 << 48


def test_a_record_that_no_program_sends_is_lost() -> None:
    guest = Sender()
    heard = Heard(task()).feed(guest.begin())
    for record in (b"", b"\1", b"\xff" * 400, b"\1\0\0\0" + b"\xff" * 396, bytes(400)):
        length = len(record).to_bytes(4, "little") + bytes(4)
        heard.recording.records(length + record + bytes(-len(record) % 8))
    heard.recording.end()
    read = reader.read(heard.lines, "x")
    assert read.events == []
    assert read.trailer is not None
    assert read.trailer.lost == 5


def test_a_guest_cannot_fill_memory_before_it_begins() -> None:
    heard = Heard(task())
    empty = bytes(1 << 20)  # records of no bytes
    with pytest.raises(IncompleteError, match="more than 64 MiB"):
        for _ in range(64):
            heard.recording.records(empty)
    assert heard.recording._early is not None
    assert len(heard.recording._early) < 2_000_000


def test_sections_cannot_fill_memory() -> None:
    heard = Heard(task())
    for number in range(1000):
        heard.recording.section(b"x%d\n1\n" % number + bytes(100_000))
        heard.recording.section(b"cmdline\n1\n" + bytes(100_000))
    assert len(heard.recording._sections) == 1
    for number in range(1000):
        heard.recording.section(b"look\n1\n1 1 1 %d " % number)
    assert len(heard.recording.glances) == 100
    with pytest.raises(IncompleteError, match="more than 64 MiB"):
        for number in range(1000):
            heard.recording.section(b"boot stats cpu%d\n1\n" % number + bytes(100_000))


def test_why_a_guest_failed_is_cut() -> None:
    heard = Heard(task())
    heard.recording.section(b"failed\n1\n" + b"x" * 100_000)
    assert heard.recording.failure == "x" * 1000
