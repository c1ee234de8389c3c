# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed data inside a larger file: unpacked piece by piece, and its end found.

compression.py unpacks a file as a whole. An initrd is larger than that, and other data may follow.
"""

from __future__ import annotations

import bz2
import lzma
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files import compression, zstd

PIECE = 1 << 20
"""Bytes of one piece, at most."""

_HINT = "make or fetch the file again"
_LZ4_MAGIC = 0x184C2102
_LZ4_MOST = (8 << 20) + (8 << 20) // 255 + 16
"""Bytes of a compressed block of 8 MiB, at most (lz4.h, LZ4_COMPRESSBOUND)."""


def pieces(file: BinaryIO, kind: str, where: str) -> Iterator[bytes]:
    """The data unpacked, from the position of FILE; KIND is one of compression.kind_of's.

    When it ends, FILE is after the compressed data. Raises BadInputError for damaged data, which
    may be after the first pieces, and CannotTraceError if a library or a program is missing.
    """
    if kind == "lz4":
        yield from _lz4(file, where)
        return
    unpacker = _unpacker(kind, where)
    try:
        while not unpacker.eof:
            data = file.read(PIECE) if unpacker.needs_input else b""
            if unpacker.needs_input and not data:
                raise BadInputError(f"{where}: its {kind} data is cut short", _HINT)
            out = unpacker.decompress(data, PIECE)
            if out:
                yield out
    except (lzma.LZMAError, zlib.error, OSError, EOFError, ValueError) as error:
        raise BadInputError(f"{where}: damaged {kind} data: {error}", _HINT) from error
    file.seek(-len(unpacker.unused_data), 1)


def _unpacker(kind: str, where: str) -> Any:
    if kind == "zstd":
        return zstd.Decompressor(where)
    if kind == "gzip":
        return _Gzip()
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=compression.MAX_BYTES)


class _Gzip:
    """zlib with the interface of the other two."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def _lz4(file: BinaryIO, where: str) -> Iterator[bytes]:
    """The kernel's lz4 is the legacy format: blocks with their sizes, and no end mark."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
        _copy_lz4(file, source, where)
        source.seek(0)
        try:
            process = subprocess.Popen(
                ("lz4", "-dc"), stdin=source, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise CannotTraceError(f"{where}: needs the program lz4", "apt install lz4") from error
        with process:  # closing its pipe ends a program that has more to write
            assert process.stdout is not None
            while out := process.stdout.read(PIECE):
                yield out
        errors.seek(0)
        said = errors.read(300).decode("utf-8", "replace").strip().replace("\n", " ")
        if process.returncode:
            raise BadInputError(f"{where}: damaged lz4 data: {said}", _HINT)


def _copy_lz4(file: BinaryIO, out: BinaryIO, where: str) -> None:
    """Copies the blocks that are at the position of FILE (lib/decompress_unlz4.c, unlz4)."""
    out.write(file.read(4))
    while len(head := file.read(4)) == 4:
        size = int.from_bytes(head, "little")
        if size == _LZ4_MAGIC:
            out.write(head)
            continue
        if not 0 < size <= _LZ4_MOST:
            break  # padding, or the next archive
        block = file.read(size)
        out.write(head + block)
        if len(block) < size:
            raise BadInputError(f"{where}: its lz4 data is cut short", _HINT)
    file.seek(-len(head), 1)
