# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a recording goes: a file whose older one is kept, or standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import UsageError

DEFAULT = "virtio-trace.vtr"


class RecordingOutput:
    """Checked when it is made, before anything is armed or started; opened when there is something
    to write, so that an attempt that fails early leaves an older recording alone."""

    def __init__(self, name: str | None) -> None:
        self.name = name or DEFAULT
        self._keep_old = name is None
        self._stream: BinaryIO | None = None
        if self.name == "-":
            if sys.stdout is None:  # it was closed when Python started
                raise UsageError("standard output is closed", "name a file with -o FILE")
            return
        path = Path(self.name)
        if path.is_dir():
            raise UsageError(f"{self.name}: is a folder", "name a file with -o FILE")
        if path.exists():
            writable = os.access(path, os.W_OK)
        else:
            writable = path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)
        if not writable:
            raise UsageError(f"{self.name}: cannot be written", "name another file with -o FILE")

    @property
    def is_stdout(self) -> bool:
        """Whether the recording goes to standard output."""
        return self.name == "-"

    def open(self) -> BinaryIO:
        """The stream. Raises UsageError where the file cannot be opened after all."""
        if self._stream is None:
            try:
                self._stream = self._open()
            except OSError as error:
                raise UsageError(
                    f"{self.name}: {error.strerror}", "name another file with -o FILE"
                ) from error
        return self._stream

    def close(self) -> None:
        """Close what open() opened."""
        if self._stream is not None and not self.is_stdout:
            self._stream.close()

    def _open(self) -> BinaryIO:
        if self.is_stdout:
            return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        path = Path(self.name)
        if self._keep_old and path.exists():
            path.replace(path.with_name(path.name + ".old"))
        return path.open("wb")
