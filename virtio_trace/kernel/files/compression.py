# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed kernel files, by their first bytes: xz, gzip, zstd, lz4, bzip2, lzma.

The standard library unpacks xz, gzip and bzip2. libzstd unpacks zstd, because a tree of .ko.zst has
thousands of files; without it the program zstd does, as lz4 does for lz4. The output is bounded, so
that no small file fills the memory (a decompression bomb).
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files import zstd

MAX_BYTES = 256 << 20
"""Largest file, compressed or unpacked, in bytes."""
MAX_RATIO = 64
"""Most unpacked bytes per compressed byte of a file of more than a few MB. Modules with debug
information reach 8, kernel images 6; zeros reach 7,000 in xz, 30,000 in zstd."""
SMALL = 16 << 20
"""Any file may unpack to as many bytes, whatever its ratio."""
_HINT = "fetch the file again"
_MAGIC = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
}
_PROGRAMS = {"zstd": ("zstd", "-dcq"), "lz4": ("lz4", "-dc")}
"""Each is in the Debian package of its name."""


def read_file(path: Path) -> bytes:
    """A regular file's bytes. Raises BadInputError where it cannot be read, or is too large.

    A larger file, a sparse one among them, is refused unread.
    """
    try:
        with io.FileIO(path, opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadInputError(f"{path}: is not a regular file", "name a file")
            if found.st_size <= MAX_BYTES:
                return file.readall()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BadInputError(f"{path}: {why}", "name a readable file") from error
    raise BadInputError(f"{path}: is larger than {MAX_BYTES >> 20} MB", "name a kernel's file")


def _without_waiting(path: str, flags: int) -> int:
    """Without O_NONBLOCK, opening a FIFO waits for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def limit_for(size: int, most: int = MAX_BYTES) -> int:
    """Bytes that SIZE compressed bytes may unpack to; never more than MOST."""
    return min(most, max(SMALL, MAX_RATIO * size))


def unpack(data: bytes, where: str, limit: int | None = None) -> bytes:
    """DATA uncompressed, or unchanged where it is not compressed.

    At most LIMIT bytes, by default :func:`limit_for` its size. Raises BadInputError for damaged
    data and for more bytes, CannotTraceError where a program is missing.
    """
    kind = kind_of(data)
    if not kind:
        return data
    if limit is None:
        limit = limit_for(len(data))
    if kind == "lz4" or (kind == "zstd" and zstd.library() is None):
        return _program(kind, data, where, limit)
    try:
        if kind == "zstd":
            return zstd.unpack(data, where, limit)
        if kind == "gzip":
            inflate = zlib.decompressobj(wbits=31)
            return _checked(inflate.decompress(data, limit), inflate.eof, where, limit)
        unpacker: Any = bz2.BZ2Decompressor()
        if kind != "bzip2":
            unpacker = lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=MAX_BYTES)
        return _checked(unpacker.decompress(data, limit), unpacker.eof, where, limit)
    except (lzma.LZMAError, zlib.error, OSError, EOFError, ValueError) as error:
        raise BadInputError(f"{where}: damaged compressed data: {error}", _HINT) from error


def kind_of(data: bytes) -> str:
    """The kind of compression by the first bytes, such as "xz"; "" for none that is known."""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")


def unpacked(path: Path) -> bytes:
    """The unpacked content of the file PATH. Raises BadInputError, CannotTraceError."""
    return unpack(read_file(path), str(path))


def is_zstd(data: bytes) -> bool:
    """Whether DATA is zstd, and libzstd is installed to look into it while it is unpacked."""
    return data.startswith(b"\x28\xb5\x2f\xfd") and zstd.library() is not None


def _checked(out: bytes, ended: bool, where: str, limit: int) -> bytes:
    if not ended:
        why = f"unpacks to more than {limit >> 20} MB" if len(out) >= limit else "is cut short"
        raise BadInputError(f"{where}: {why}", _HINT)
    return out


def _program(kind: str, data: bytes, where: str, limit: int) -> bytes:
    """DATA through one of _PROGRAMS."""
    command = _PROGRAMS[kind]
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
        source.write(data)
        source.seek(0)
        try:
            process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise CannotTraceError(
                f"{where}: needs the program {kind}", f"apt install {kind}"
            ) from error
        with process:  # closing its pipe ends a program that has more to write
            assert process.stdout is not None
            out = process.stdout.read(limit + 1)
        errors.seek(0)
        said = errors.read(300).decode("utf-8", "replace").strip().replace("\n", " ")
    if len(out) > limit:
        raise BadInputError(f"{where}: unpacks to more than {limit >> 20} MB", _HINT)
    if process.returncode:
        raise BadInputError(f"{where}: damaged compressed data: {said}", _HINT)
    return out
