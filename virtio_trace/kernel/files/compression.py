# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed kernel files, by their first bytes: xz, gzip, zstd, lz4, bzip2, lzma.

xz, gzip and bzip2 by the standard library; zstd by libzstd, as a tree of .ko.zst has thousands of
files, else by its program, as lz4. What comes out is bounded, so that a bomb fills no memory.
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
"""Most that a file may be, packed or unpacked, in bytes."""
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
    """A regular file's bytes. Raises BadInputError with the reason where it cannot be read."""
    try:
        with io.FileIO(path, opener=_no_wait) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadInputError(f"{path}: is no regular file", "name a file")
            if found.st_size <= MAX_BYTES:
                return file.readall()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BadInputError(f"{path}: {why}", "name a readable file") from error
    raise BadInputError(f"{path}: is larger than {MAX_BYTES >> 20} MB", "name a kernel's file")


def _no_wait(path: str, flags: int) -> int:
    """A FIFO without a writer would be waited for without O_NONBLOCK."""
    return os.open(path, flags | os.O_NONBLOCK)


def unpack(data: bytes, where: str, limit: int = MAX_BYTES) -> bytes:
    """DATA uncompressed, or as it is where it is not compressed.

    Raises BadInputError for damaged data and more than LIMIT bytes, CannotTraceError where a
    program is missing.
    """
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")
    if not kind:
        return data
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


def is_zstd(data: bytes) -> bool:
    """Whether DATA is of zstd, and libzstd is there to look into it while it is unpacked."""
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
        with process:  # its pipe closed, a program that has more to say ends
            assert process.stdout is not None
            out = process.stdout.read(limit + 1)
        errors.seek(0)
        said = errors.read(300).decode("utf-8", "replace").strip().replace("\n", " ")
    if len(out) > limit:
        raise BadInputError(f"{where}: unpacks to more than {limit >> 20} MB", _HINT)
    if process.returncode:
        raise BadInputError(f"{where}: damaged compressed data: {said}", _HINT)
    return out
