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
    from virtio_trace.recording.reader import Recording

_WARNINGS = 5
_LONGEST_LINE = 1 << 26


def load(file: str, verbose: bool = False, warn_lacks: bool = True) -> Recording:
    """Read the recording FILE (- is standard input) and warn of what it lacks.

    Raises BadInputError.
    """
    # Imported here: inspect, which reads no recording, must not wait for them.
    from virtio_trace.check.coverage import lacks as lacks_of  # noqa: PLC0415
    from virtio_trace.recording import reader  # noqa: PLC0415

    name = "standard input" if file == "-" else file
    # Nothing that is read here becomes garbage before the process ends.
    gc.disable()
    try:
        with _opened(file) as stream:
            found: Recording = reader.read(_lines(stream), name)
    except OSError as error:
        raise BadInputError(f"{name}: {error.strerror or error}", _hint(file, error)) from error
    lacks: list[str] = lacks_of(found) if warn_lacks else []
    shown = len(lacks) if verbose else _WARNINGS
    for message in lacks[:shown]:
        warn(message)
    if len(lacks) > shown:
        warn(f"and {len(lacks) - shown} more; -v shows all")
    return found


def _opened(file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file != "-":
        return Path(file).open("rb")
    if sys.stdin is None:
        raise OSError(errno.EBADF, "is closed")
    return contextlib.nullcontext(sys.stdin.buffer)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of STREAM, cut at 64 MiB: a file that is no recording may be one endless line."""
    while line := stream.readline(_LONGEST_LINE):
        yield line


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
