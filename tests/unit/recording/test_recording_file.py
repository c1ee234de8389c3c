# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording is read from its file event by event, and gives what it gives from memory."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.check import verdict
from virtio_trace.check.profiles import PROFILES
from virtio_trace.errors import BadInputError
from virtio_trace.recording import reader
from virtio_trace.recording.recording_file import RecordingFile, RecordingPipe
from virtio_trace.report.summary import summary

FILES = sorted(GOLDEN.glob("*.vtr"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_gives_what_memory_gives(path: Path) -> None:
    kept = reader.read(path.read_bytes().splitlines(keepends=True), path.name)
    with path.open("rb") as stream:
        read = RecordingFile(stream, path.name)
        assert read.trailer == kept.trailer  # before any event was read
        assert list(read) == list(read) == kept.events
        assert (read.count, read.last_seq, read.first_ns) == (
            kept.count, kept.last_seq, kept.first_ns,
        )  # fmt: skip
        assert read.trailer == kept.trailer
        for profile in PROFILES:
            assert verdict.judge(read, profile) == verdict.judge(kept, profile)
        assert summary(read) == summary(kept)


def test_a_pipe_is_copied_or_read_once() -> None:
    data = (GOLDEN / "debian-6.1.vtr").read_bytes()
    events = reader.read(data.splitlines(keepends=True), "x").events
    for kind, times in ((RecordingFile, 2), (RecordingPipe, 1)):
        output, input_ = os.pipe()
        if os.fork() == 0:
            with os.fdopen(input_, "wb") as out:
                out.write(data)
            os._exit(0)
        os.close(input_)
        with os.fdopen(output, "rb") as stream:
            read = kind(stream, "pipe")
            assert all(list(read) == events for _ in range(times))
            assert read.trailer is not None
        os.wait()


@pytest.mark.parametrize("cut", [1, 5000])
def test_a_cut_file_has_no_trailer(cut: int) -> None:
    data = (GOLDEN / "debian-6.1.vtr").read_bytes()[:-cut]
    read = RecordingFile(io.BytesIO(data), "cut")
    assert read.trailer is None
    assert list(read) == reader.read(data.splitlines(keepends=True), "cut").events
    assert read.trailer is None


def test_what_follows_the_trailer_is_an_error_in_its_line() -> None:
    lines = (GOLDEN / "debian-6.1.vtr").read_bytes().splitlines(keepends=True)
    read = RecordingFile(io.BytesIO(b"".join([*lines, lines[-2]])), "long")
    with pytest.raises(BadInputError, match=rf"line {len(lines) + 1}: something follows"):
        list(read)
