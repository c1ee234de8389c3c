# SPDX-License-Identifier: GPL-2.0-or-later
"""How the commands that read a recording open it."""

from __future__ import annotations

import contextlib
import errno
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from virtio_trace.cli.support.output import DEFAULT
from virtio_trace.cli.support.say import warn
from virtio_trace.errors import BadInputError

if TYPE_CHECKING:
    from virtio_trace.recording.source import Source

_WARNINGS = 5


@contextlib.contextmanager
def opened(file: str, *, once: bool = False) -> Iterator[Source]:
    """The recording FILE (- is standard input), for use in the body, which iterates over its events
    more than once, unless ONCE.

    Raises BadInputError, also for an OSError of the body about reading FILE.
    """
    # Imported here: inspect, which reads no recording, must not wait for them.
    from virtio_trace.recording.recording_file import (  # noqa: PLC0415
        ReadError,
        RecordingFile,
        RecordingPipe,
        can_seek,
    )

    # Most objects are dropped when their count of references is 0; few are in cycles.
    gc.set_threshold(100_000, 50, 50)
    name = "standard input" if file == "-" else file
    try:
        with _stream(file) as stream:
            pipe = once and not can_seek(stream)
            yield RecordingPipe(stream, name) if pipe else RecordingFile(stream, name)
    except ReadError as failed:
        error = failed.error
        raise BadInputError(f"{name}: {error.strerror or error}", _hint(file, error)) from error


def warn_lacks(recording: Source, verbose: bool) -> None:
    """Warn of what RECORDING, which has been read, lacks."""
    from virtio_trace.check.coverage import lacks as lacks_of  # noqa: PLC0415 - as above
    from virtio_trace.check.scope import scope_of  # noqa: PLC0415 - as above

    lacks: list[str] = lacks_of(recording, scope_of(recording))
    shown = len(lacks) if verbose else _WARNINGS
    for message in lacks[:shown]:
        warn(message)
    if len(lacks) > shown:
        warn(f"and {len(lacks) - shown} more; -v shows all")


@contextlib.contextmanager
def _stream(file: str) -> Iterator[BinaryIO]:
    """FILE, open. Raises ReadError."""
    from virtio_trace.recording.recording_file import ReadError  # noqa: PLC0415 - as above

    if file == "-":
        if sys.stdin is None:
            raise ReadError(OSError(errno.EBADF, "is closed"))
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - only its opening is guarded
    except OSError as error:
        raise ReadError(error) from error
    with stream:
        yield stream


def _hint(file: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        if file == DEFAULT:
            return "make one: virtio-trace record, or name a recording"
        return "name a recording that virtio-trace record or boot made"
    if isinstance(error, IsADirectoryError):
        return "name a file in it"
    if isinstance(error, PermissionError):
        return f"a recording made with sudo belongs to root: sudo chown $USER {file}"
    return "name another file"
