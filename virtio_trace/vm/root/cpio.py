# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the archive that a kernel unpacks as its initial root: cpio, format newc.

We write it ourselves because its owners, modes and device nodes are the guest's: the cpio program
takes them from files, and a plain user can create neither. The format is in the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst. Archives may be concatenated.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from virtio_trace.errors import BadInputError

_MAGIC = b"070701"
_CHUNK = 1 << 20
_HEAD = 6 + 13 * 8
_TRAILER = "TRAILER!!!"
_HINT = "remove the appliance from the cache (XDG_CACHE_HOME); it is built again"


def find(source: BinaryIO, name: str) -> bytes | None:
    """The content of the file NAME in an archive that Writer wrote, read from SOURCE's position on;
    None if there is no such file. Raises BadInputError if the archive is damaged."""
    while True:
        head = source.read(_HEAD)
        if len(head) < _HEAD or not head.startswith(_MAGIC):
            raise BadInputError(f"not a cpio archive, or a cut one: cannot find {name}", _HINT)
        if not re.fullmatch(rb"[0-9A-Fa-f]+", head[len(_MAGIC) :]):
            raise BadInputError(f"a damaged cpio archive: cannot find {name}", _HINT)
        numbers = [int(head[at : at + 8], 16) for at in range(len(_MAGIC), _HEAD, 8)]
        size, length = numbers[6], numbers[11]
        found = source.read(length + -(_HEAD + length) % 4)[: length - 1].decode(errors="replace")
        if found == name:
            data = source.read(size)
            if len(data) < size:
                raise BadInputError(f"{name}: {size - len(data)} bytes short", _HINT)
            return data
        if found == _TRAILER:
            return None
        source.seek(size + -size % 4, 1)


def append_file(out: BinaryIO, path: Path) -> None:
    """Appends the file PATH, unchanged, to OUT, which is a file too. Raises OSError."""
    out.flush()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (sent := os.sendfile(out.fileno(), file.fileno(), None, left)):
            left -= sent
    out.seek(0, os.SEEK_END)


class Writer:
    """One archive, written to OUT from its position on. ``with`` ends it with its trailer.

    Names are paths from the root without a leading slash. Missing parent folders are added, mode
    0755. Every owner is root.

    All methods raise BadInputError for a name that leaves the root, and for a file of 4 GiB.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._inode = 0
        self._folders: set[str] = set()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._entry(_TRAILER, 0, 0)

    def folder(self, name: str, mode: int = 0o755) -> None:
        """A folder. It is written once, however often it is added."""
        if name in self._folders or name in {"", "."}:
            return
        self._parents(name)
        self._folders.add(name)
        self._entry(name, stat.S_IFDIR | mode, 0)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """A file with its content DATA."""
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, len(data))
        self._out.write(data)
        self._pad(len(data))

    def stream(self, name: str, source: BinaryIO, size: int, mode: int = 0o644) -> None:
        """A file of SIZE bytes, read from SOURCE. Raises EOFError if SOURCE has fewer."""
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, size)
        left = size
        while left:
            data = source.read(min(left, _CHUNK))
            if not data:
                raise EOFError(f"{name}: {left} bytes short")
            self._out.write(data)
            left -= len(data)
        self._pad(size)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._parents(name)
        data = target.encode()
        self._entry(name, stat.S_IFLNK | 0o777, len(data))
        self._out.write(data)
        self._pad(len(data))

    def device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device."""
        self._parents(name)
        self._entry(name, stat.S_IFCHR | mode, 0, (major, minor))

    def _parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        if parent:
            self.folder(parent)

    def _entry(self, name: str, mode: int, size: int, device: tuple[int, int] = (0, 0)) -> None:
        if size > 0xFFFFFFFF:
            raise BadInputError(f"{name}: a newc archive cannot have a file of 4 GiB or more")
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise BadInputError(f"{name!r:.200} is not a path below the archive's root")
        self._inode += 1
        encoded = os.fsencode(name) + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        # inode, mode, uid, gid, links, mtime, size, device of the file (2), device that it is (2),
        # length of the name, checksum (of another format). mtime 0 makes archives reproducible.
        numbers = (self._inode, mode, 0, 0, links, 0, size, 0, 0, *device, len(encoded), 0)
        self._out.write(_MAGIC + b"".join(b"%08x" % number for number in numbers) + encoded)
        self._pad(len(_MAGIC) + 8 * len(numbers) + len(encoded))

    def _pad(self, size: int) -> None:
        self._out.write(b"\0" * (-size % 4))
