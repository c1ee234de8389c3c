# SPDX-License-Identifier: GPL-2.0-or-later
"""Output whose write errors carry our words: raised where the write happens, and nowhere else."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

from virtio_trace.errors import CannotTraceError, VirtioTraceError


class Sink(io.FileIO):
    """An unbuffered file that is open for writing.

    FILE is a path or a file descriptor. An OSError of write() or close() is raised as what FAIL
    makes of it; a BrokenPipeError passes, as it means that nobody reads any more.
    """

    def __init__(
        self, file: str | int, fail: Callable[[OSError], VirtioTraceError], closefd: bool = True
    ) -> None:
        super().__init__(file, "w", closefd)
        self._fail = fail

    def write(self, data: Any) -> int:
        """Write DATA or the first part of it; return how many bytes were written."""
        with self._ours():
            return super().write(data)

    def close(self) -> None:
        """Close it: network file systems report a full disk here."""
        with self._ours():
            super().close()

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._fail(error) from error


def text_stream(sink: Sink, **keywords: Any) -> io.TextIOWrapper:
    """SINK, buffered, as a text stream; KEYWORDS are TextIOWrapper's."""
    return io.TextIOWrapper(io.BufferedWriter(sink), **keywords)


@contextlib.contextmanager
def guarded_stdout() -> Iterator[None]:
    """Replaces sys.stdout by a Sink of the same descriptor, and flushes that at the end.

    What click prints (--help, --version) goes there too. Raises CannotTraceError for what cannot be
    written, and BrokenPipeError. A stream that a caller put in place of Python's own stays.
    """
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper) or stream is not sys.__stdout__ or stream.closed:
        yield
        return
    stream.flush()
    sys.stdout = text_stream(
        Sink(stream.fileno(), _stdout_failed, closefd=False),
        encoding=stream.encoding,
        # Names may hold characters that the locale cannot write.
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    try:
        yield
        sys.stdout.flush()
    finally:
        with contextlib.suppress(OSError, VirtioTraceError):
            sys.stdout.flush()
        sys.stdout = stream


def _stdout_failed(error: OSError) -> VirtioTraceError:
    return CannotTraceError(
        f"standard output: cannot write: {error.strerror or error}",
        "redirect it to a file on a disk with room",
    )
