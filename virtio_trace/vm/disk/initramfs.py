# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads an initrd as the kernel unpacks it (init/initramfs.c): cpio archives, one after another.

Each is plain or compressed; zeros may be between them, such as after an archive of microcode. The
format newc is in Documentation/driver-api/early-userspace/buffer-format.rst.

An initrd may be hostile: what it unpacks to, its entries, its archives and the time are bounded.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import compression
from virtio_trace.kernel.files.compressed_stream import PIECE, pieces
from virtio_trace.vm.host.programs import Progress

HINT = "give the kernel's modules: --modules DIR"

MOST_ENTRIES = 500_000
MOST_PARTS = 1000
"""Archives and compressed parts, in all files together."""
MOST_SECONDS = 300.0
MOST_UNPACKED = 8 << 30
SMALL = 256 << 20
"""Bytes that any initrd may unpack to. One of more than 4 MB may unpack to
compression.MAX_RATIO times its size, up to MOST_UNPACKED."""

_HEAD = 110
_HEADER = re.compile(rb"07070[12][0-9A-Fa-f]{104}")
_PATH_MAX = 4096
_TRAILER = b"TRAILER!!!"
_LZO = b"\x89LZO"
"""The kernel unpacks it; no program that boot needs does."""


class DamageError(Exception):
    """The kernel stops here. What it unpacked before stays."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``size`` is in bytes; ``identity`` is the same for hard links to one file, which
    has ``links`` names. An archive has such a file's content once, usually with its last name."""

    name: bytes
    mode: int
    size: int
    links: int
    identity: tuple[int, int, int]

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


class Stream:
    """Bytes that come in pieces. ``taken`` is how many were read or skipped."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._piece = memoryview(b"")
        self.taken = 0

    def read(self, size: int) -> bytes:
        """SIZE bytes; fewer at the end."""
        return b"".join(self.parts(size))

    def parts(self, size: int) -> Iterator[memoryview]:
        """The next SIZE bytes in parts; fewer at the end."""
        while size and (self._piece or self._next()):
            part = self._piece[:size]
            self._piece = self._piece[len(part) :]
            size -= len(part)
            self.taken += len(part)
            yield part

    def skip(self, size: int) -> None:
        """Skips SIZE bytes, or as many as there are."""
        for _ in self.parts(size):
            pass

    def skip_zeros(self) -> bytes:
        """Skips zero bytes. Returns the byte after them, which stays; b"" at the end."""
        while self._piece or self._next():
            found = re.search(rb"[^\0]", self._piece)
            at = found.start() if found else len(self._piece)
            self._piece = self._piece[at:]
            self.taken += at
            if found:
                return bytes(self._piece[:1])
        return b""

    def _next(self) -> bool:
        for piece in self._source:
            self._piece = memoryview(piece)
            return True
        return False


class Initramfs:
    """The files INITRDS, one after another. ``progress`` gets the part that was read."""

    def __init__(self, files: list[Path], what: str, progress: Progress) -> None:
        self._files = files
        self._what = what
        self._progress = progress
        self._end = time.monotonic() + MOST_SECONDS
        self._total = max(1, sum(file.stat().st_size for file in files if file.exists()))
        self._most = min(MOST_UNPACKED, max(SMALL, compression.MAX_RATIO * self._total))
        self._before = self._unpacked = self._entries = self._parts = 0

    def entries(self) -> Iterator[tuple[Entry | None, Stream]]:
        """Each entry, and the stream, from which its content may be read before the next entry;
        None at the end of each archive.

        Raises DamageError where the kernel would stop, BadInputError for more than the limits or a
        file that cannot be read, CannotTraceError if a program is missing.
        """
        for path in self._files:
            with _opened(path) as file:
                yield from self._file(file, path.name)
                self._before += os.fstat(file.fileno()).st_size

    def _file(self, file: BinaryIO, name: str) -> Iterator[tuple[Entry | None, Stream]]:
        start = 0
        while True:
            file.seek(start)
            plain = Stream(_plain(file, name))
            if not plain.skip_zeros():
                return
            start += plain.taken
            file.seek(start)
            magic = file.read(6)
            file.seek(start)
            if magic.startswith(b"0"):
                plain = Stream(self._bounded(_plain(file, name), file, name))
                yield from self._archive(plain, name)
                start += plain.taken
                continue
            yield from self._compressed(file, name, magic)
            start = file.tell()

    def _compressed(
        self, file: BinaryIO, name: str, magic: bytes
    ) -> Iterator[tuple[Entry | None, Stream]]:
        if magic.startswith(_LZO):
            raise BadInputError(f"{name} is compressed by lzo, which cannot be read", HINT)
        kind = compression.kind_of(magic)
        if not kind:
            raise DamageError(f"{name} has unknown data at byte {file.tell()}")
        self._count_part(name)
        stream = Stream(self._bounded(_damage(pieces(file, kind, name)), file, name))
        while first := stream.skip_zeros():
            if first != b"0":
                raise DamageError(f"{name} has unknown data after an archive")
            yield from self._archive(stream, name)

    def _archive(self, stream: Stream, name: str) -> Iterator[tuple[Entry | None, Stream]]:
        """The entries of one archive."""
        self._count_part(name)
        while True:
            head = stream.read(_HEAD)
            if not _HEADER.fullmatch(head):
                what = "a damaged archive" if len(head) == _HEAD else "an archive that is cut short"
                raise DamageError(f"{name} has {what}")
            self._entries += 1
            if self._entries > MOST_ENTRIES:
                raise BadInputError(f"{name} has more than {MOST_ENTRIES} entries", HINT)
            inode, mode, _, _, links, _, size, major, minor, _, _, length, _ = (
                int(head[at : at + 8], 16) for at in range(6, _HEAD, 8)
            )
            padded = length + -(_HEAD + length) % 4
            text = stream.read(padded) if length <= _PATH_MAX else b""
            end = stream.taken + size + -size % 4 + (0 if text else padded)
            label = text[:length].split(b"\0", 1)[0]
            if label == _TRAILER:
                yield None, stream
            elif label:
                yield Entry(label, mode, size, links, (major, minor, inode)), stream
            stream.skip(end - stream.taken)
            if label == _TRAILER:
                return
            if stream.taken < end:
                raise DamageError(f"{name} has an archive that is cut short")

    def _count_part(self, name: str) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadInputError(f"{name} has more than {MOST_PARTS} archives", HINT)

    def _bounded(self, source: Iterator[bytes], file: BinaryIO, name: str) -> Iterator[bytes]:
        for piece in source:
            self._unpacked += len(piece)
            if self._unpacked > self._most:
                most = f"{self._most >> 20} MiB"
                raise BadInputError(f"{name} unpacks to more than {most}: it is damaged", HINT)
            if time.monotonic() > self._end:
                raise BadInputError(f"{name} takes more than {MOST_SECONDS:.0f} s to read", HINT)
            self._progress(self._what, min(0.99, (self._before + file.tell()) / self._total))
            yield piece


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path.name, error) from error


def _plain(file: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        while piece := file.read(PIECE):
            yield piece
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> BadInputError:
    return BadInputError(f"{name} cannot be read: {error.strerror}", "name a readable initrd")


def _damage(source: Iterator[bytes]) -> Iterator[bytes]:
    """The kernel keeps what it unpacked before the damage."""
    try:
        yield from source
    except BadInputError as error:
        raise DamageError(str(error)) from error
