# SPDX-License-Identifier: GPL-2.0-or-later
"""Files below an open folder, such as a mount that has no path. Nothing here raises OSError."""

from __future__ import annotations

import posix

MOST_BYTES = 1 << 24
"""Most that is read of one file."""


class Tree:
    """What is below the folder DESCRIPTOR, which stays open; None: there is no such folder."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    def open(self, path: str, flags: int = posix.O_RDONLY) -> int | None:
        """A descriptor of PATH; None where it cannot be opened. A FIFO is not waited for."""
        if self.descriptor is None:
            return None
        try:
            flags |= posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY
            return posix.open(path, flags, dir_fd=self.descriptor)
        except (OSError, ValueError):
            return None

    def read(self, path: str, most: int = MOST_BYTES) -> bytes | None:
        """The contents of PATH, MOST bytes of them; None where it cannot be read."""
        file = self.open(path)
        if file is None:
            return None
        parts = []
        try:
            while most > 0 and (part := posix.read(file, min(most, 1 << 16))):
                parts.append(part)
                most -= len(part)
        except OSError:
            if not parts:
                return None
        finally:
            posix.close(file)
        return b"".join(parts)

    def list(self, path: str) -> list[str]:
        """The names in the folder PATH, sorted; [] where it cannot be read."""
        folder = self.open(path, posix.O_RDONLY | posix.O_DIRECTORY)
        if folder is None:
            return []
        try:
            return sorted(posix.listdir(folder))
        except OSError:
            return []
        finally:
            posix.close(folder)

    def link(self, path: str) -> str | None:
        """What the link PATH says; None: not a link."""
        try:
            return posix.readlink(path, dir_fd=self.descriptor)
        except (OSError, ValueError, TypeError):
            return None

    def identity(self, path: str) -> tuple[int, int] | None:
        """The file system and the inode of PATH."""
        try:
            found = posix.stat(path, dir_fd=self.descriptor)
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino
