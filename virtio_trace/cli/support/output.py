# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a recording goes: a file that no other recorder writes, or standard output."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

from virtio_trace.cli.support.sink import Sink
from virtio_trace.errors import IncompleteError, UsageError, VirtioTraceError

DEFAULT = "virtio-trace.vtr"

_HINT = "name another file with -o FILE"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_IN_USE = (errno.EWOULDBLOCK, errno.EACCES)
"""What flock(2) and fcntl(2) return for a lock that another process holds."""


class _Recording(Sink):
    """An unbuffered stream: what is not written is not kept, so a full disk is reported once."""

    def write(self, data: Any) -> int:
        """Write all of DATA. Raises IncompleteError if that is not possible."""
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        return len(data)


class RecordingOutput:
    """The recording's FILE, by default virtio-trace.vtr; - is standard output.

    It is checked when the object is made, before anything is armed or started, and opened when
    there is something to write: an attempt that fails early leaves an older recording alone. An
    existing file is kept as FILE.old. The open file is locked until it is closed.

    Raises UsageError if FILE cannot be written, or if another recorder writes to it.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name or DEFAULT
        self._stream: _Recording | None = None
        if self.is_stdout:
            if sys.stdout is None:  # it was closed when Python started
                raise UsageError("standard output is closed", "name a file with -o FILE")
            return
        # Through links, so that /dev/stdout and a link to a recording stay what they are.
        self._path = Path(os.path.realpath(self.name))
        if self._path.is_dir():
            raise UsageError(f"{self.name}: is a folder", "name a file with -o FILE")
        regular = self._path.is_file()
        if regular or not self._path.exists():
            folder = self._path.parent
            writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        else:
            writable = os.access(self._path, os.W_OK)
        if not writable:
            raise UsageError(f"{self.name}: cannot be written", _HINT)
        if regular:
            self._check_unused()

    @property
    def is_stdout(self) -> bool:
        """Whether the recording goes to standard output."""
        return self.name == "-"

    @property
    def is_regular(self) -> bool:
        """Whether the recording goes to a file that can be read afterwards."""
        return not self.is_stdout and (self._path.is_file() or not self._path.exists())

    def open(self) -> BinaryIO:
        """The stream.

        Raises UsageError if the file cannot be opened after all, IncompleteError if there is no
        room for it. Writing to the stream raises IncompleteError, or BrokenPipeError.
        """
        if self._stream is None:
            try:
                descriptor = os.dup(sys.stdout.fileno()) if self.is_stdout else self._open()
            except OSError as error:
                raise self._not_opened(error) from error
            self._stream = _Recording(descriptor, self._not_written)
        return cast(BinaryIO, self._stream)

    def close(self) -> None:
        """Close what open() opened. Raises IncompleteError if the file system reports an error."""
        if self._stream is not None:
            self._stream.close()

    def _check_unused(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # open() will say what is wrong
        try:
            self._lock(descriptor)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """A descriptor of the file, new or empty, and locked. Raises OSError, UsageError."""
        while True:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return descriptor
                self._lock(descriptor)
                if not self._is_still(descriptor):
                    os.close(descriptor)  # another recorder has just renamed it
                    continue
                if os.fstat(descriptor).st_size == 0:
                    return descriptor
                # The lock on the old file keeps other recorders away meanwhile.
                self._path.replace(self._path.with_name(self._path.name + ".old"))
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_still(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _lock(self, descriptor: int) -> None:
        """Raises UsageError if another recorder has the file. The lock ends with the descriptor."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _IN_USE:
                raise UsageError(
                    f"{self.name}: another virtio-trace is recording to this file",
                    "wait until it has ended, or name another file with -o FILE",
                ) from error
            # This file system has no locks.

    def _not_opened(self, error: OSError) -> VirtioTraceError:
        if error.errno in _NO_ROOM:
            return self._not_written(error)
        return UsageError(f"{self.name}: {error.strerror}", _HINT)

    def _not_written(self, error: OSError) -> VirtioTraceError:
        name = "standard output" if self.is_stdout else self.name
        return IncompleteError(
            f"{name}: cannot write: {error.strerror}; the recording is cut here",
            "make room, or name a file on another disk with -o FILE",
        )
