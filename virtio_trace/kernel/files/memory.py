# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's memory by address: the interface to it, and the running kernel's memory.

/proc/kcore is an ELF core file whose segments are the kernel's memory (fs/proc/kcore.c;
Elf64_Ehdr and Elf64_Phdr of the System V ABI). Lockdown forbids both it and kprobes
(include/linux/security.h: both come after LOCKDOWN_INTEGRITY_MAX).
"""

from __future__ import annotations

import bisect
import os
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.files.machine import ELF_IDENT

KCORE = Path("/proc/kcore")

_MAX_STRING = 256
_EHDR = 64
_PT_LOAD = 1
_PHDR = struct.Struct("<IIQQQQQQ")
_HINT = "needs CONFIG_PROC_KCORE and CAP_SYS_RAWIO"


class Memory(ABC):
    """Bytes by the kernel's addresses; little-endian, pointers of 8 bytes."""

    @abstractmethod
    def bytes_at(self, address: int, size: int) -> bytes | None:
        """SIZE bytes from ADDRESS; None: not in the kernel's memory."""

    def number_at(self, address: int, size: int = 8) -> int | None:
        """The unsigned number of SIZE bytes at ADDRESS, by default a pointer; None as above."""
        raw = self.bytes_at(address, size)
        return None if raw is None else int.from_bytes(raw, "little")

    def string_at(self, address: int) -> str | None:
        """The C string at ADDRESS; None: not printable, or 256 bytes and longer."""
        for size in (_MAX_STRING, 16):  # the segment may end right after the string
            raw = self.bytes_at(address, size) or b""
            text, end, _ = raw.partition(b"\0")
            if end and text.isascii() and text.decode("ascii").isprintable():
                return text.decode("ascii")
        return None


class _Segment(NamedTuple):
    address: int
    size: int
    offset: int


class Kcore(Memory):
    """The running kernel's memory, which changes while it is read; a context manager."""

    def __init__(self, path: Path = KCORE) -> None:
        """Raises CannotTraceError where PATH cannot be read, or is not a core file."""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CannotTraceError(f"{path}: {error.strerror}", _HINT) from error
        try:
            self._segments = sorted(self._load())
        except (OSError, struct.error) as error:
            os.close(self._file)
            raise CannotTraceError(f"{path}: is not a core file of a kernel", _HINT) from error
        self._starts = [segment.address for segment in self._segments]

    def __enter__(self) -> Kcore:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)

    def _load(self) -> list[_Segment]:
        head = os.pread(self._file, _EHDR, 0)
        if head[:6] != ELF_IDENT:
            raise OSError
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        raw = os.pread(self._file, size * count, table)
        rows = (_PHDR.unpack_from(raw, i * size) for i in range(count))
        return [_Segment(row[3], row[6], row[2]) for row in rows if row[0] == _PT_LOAD]

    def bytes_at(self, address: int, size: int) -> bytes | None:
        """As above; None also where the kernel refuses."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0:
            return None
        segment = self._segments[i]
        inside = address - segment.address
        if inside + size > segment.size:
            return None
        try:
            found = os.pread(self._file, size, segment.offset + inside)
        except OSError:
            return None
        return found if len(found) == size else None
