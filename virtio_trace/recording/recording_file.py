# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording in a file, read line by line: it may be longer than memory.

The trailer is read first. It says what the events must add up to, so one reading of the events is
usually enough to judge them.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from virtio_trace.recording.events import Event
from virtio_trace.recording.reader import LineReader, Tally, trailer_of
from virtio_trace.recording.source import Source
from virtio_trace.recording.trailer import Trailer

_LONGEST_LINE = 1 << 26
"""64 MiB: a file that is no recording may be one endless line."""

_BLOCK = 1 << 16


class ReadError(Exception):
    """A recording cannot be read, for the reason in ``error``."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class RecordingPipe(Source):
    """The recording in STREAM, which can be read once; NAME is for messages. ``trailer`` is None
    until the events have been read. Raises BadInputError, ReadError."""

    is_repeatable = False

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._reader = LineReader(name)
        self._tally = Tally()
        super().__init__(self._reader.header(_lines(stream)), None)

    def __iter__(self) -> Iterator[Event]:
        lines = iter(partial(self._stream.readline, _LONGEST_LINE), b"")
        try:
            yield from self._reader.events(lines, self._tally)
        except OSError as error:  # of reading: what a user of the events raises does not come here
            raise ReadError(error) from error
        self.trailer = self._tally.trailer

    @property
    def count(self) -> int:
        """How many events it has."""
        return self._tally.count

    @property
    def last_seq(self) -> int:
        """The sequence number of the last event; 0 without events."""
        return self._tally.last_seq

    @property
    def first_ns(self) -> int | None:
        """The time of the first event, None without events."""
        return self._tally.first_ns


class RecordingFile(RecordingPipe):
    """The recording in STREAM; NAME is for messages. Raises BadInputError, ReadError.

    A stream that cannot be read twice, such as a pipe, is first copied to a temporary file.
    """

    is_repeatable = True

    def __init__(self, stream: BinaryIO, name: str) -> None:
        stream = _seekable(stream)
        self._start = stream.tell()
        super().__init__(stream, name)
        self._begin = self._stream.tell()
        self.trailer = _find_trailer(self._stream, self._begin)
        if self.trailer is not None:
            self._tally.count = self._tally.last_seq = self.trailer.events

    def __iter__(self) -> Iterator[Event]:
        self._stream.seek(self._begin)
        return super().__iter__()

    def raw(self) -> Iterator[bytes]:
        """Its bytes, as they are in the file. Raises ReadError."""
        self._stream.seek(self._start)
        try:
            yield from iter(partial(self._stream.read, _BLOCK), b"")
        except OSError as error:
            raise ReadError(error) from error


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of STREAM, cut at 64 MiB. Raises ReadError."""
    try:
        yield from iter(partial(stream.readline, _LONGEST_LINE), b"")
    except OSError as error:
        raise ReadError(error) from error


def can_seek(stream: BinaryIO) -> bool:
    """Whether STREAM can be read again. Terminals and pipes cannot, whatever they say."""
    with contextlib.suppress(OSError):
        if stream.seekable():
            stream.seek(stream.tell())
            return True
    return False


def _seekable(stream: BinaryIO) -> BinaryIO:
    if can_seek(stream):
        return stream
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the recording
    try:
        shutil.copyfileobj(stream, copy)
    except OSError as error:
        raise ReadError(error) from error
    copy.seek(0)
    return copy


def _find_trailer(stream: BinaryIO, begin: int) -> Trailer | None:
    """The trailer in the last whole line of STREAM, which is at most 64 MiB long."""
    position = stream.seek(0, io.SEEK_END)
    tail = b""
    while position > begin and len(tail) < _LONGEST_LINE:
        size = min(max(_BLOCK, len(tail)), position - begin)
        position = stream.seek(position - size)
        tail = stream.read(size) + tail
        last = tail.rfind(b"\n")
        start = tail.rfind(b"\n", 0, max(last, 0))
        if last >= 0 and (start >= 0 or position == begin):
            return trailer_of(tail[start + 1 : last + 1])
    return None
