# SPDX-License-Identifier: GPL-2.0-or-later
"""zstd by libzstd (lib/zstd.h), which dpkg depends on.

It saves a process per file, where a tree of .ko.zst has thousands, and allows to stop early: of a
kernel image often only the start is needed. The output goes to one mapping, where it can be
searched while it grows; its pages take no memory until they are written.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from virtio_trace.errors import BadInputError, CannotTraceError

_HINT = "fetch the file again"
_STEP = 1 << 20
"""Compressed bytes between two calls of the callback."""
_STABLE_OUT = 1001  # ZSTD_d_stableOutBuffer, since 1.4.5: no window, no copies
_TOO_SMALL = 70  # ZSTD_error_dstSize_tooSmall (lib/zstd_errors.h)

_T = TypeVar("_T")


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("at", ctypes.c_size_t),
    )


class Part(NamedTuple):
    """The bytes of DATA from START to END."""

    data: bytes
    start: int
    end: int


@functools.cache
def library() -> Any:
    """libzstd.so.1 with signatures; None: not installed, or too old."""
    try:
        lib = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    size, pointer, buffer = ctypes.c_size_t, ctypes.c_void_p, ctypes.POINTER(_Buffer)
    for name, result, arguments in (
        ("ZSTD_createDCtx", pointer, ()),
        ("ZSTD_freeDCtx", size, (pointer,)),
        ("ZSTD_DCtx_setParameter", size, (pointer, ctypes.c_int, ctypes.c_int)),
        ("ZSTD_decompressStream", size, (pointer, buffer, buffer)),
        ("ZSTD_isError", ctypes.c_uint, (size,)),
        ("ZSTD_getErrorName", ctypes.c_char_p, (size,)),
        ("ZSTD_getErrorCode", ctypes.c_int, (size,)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Decompressor:
    """Unpacks one frame piece by piece. Use it as lzma.LZMADecompressor of the standard library."""

    def __init__(self, where: str) -> None:
        """Raises CannotTraceError if libzstd is not installed."""
        self._lib = library()
        if self._lib is None:
            raise CannotTraceError(f"{where}: needs libzstd", "apt install libzstd1")
        self._where = where
        self._context = self._lib.ZSTD_createDCtx()
        self._data = b""
        self._at = 0
        self._full = False
        self.eof = False

    def __del__(self) -> None:
        if self._lib is not None:
            self._lib.ZSTD_freeDCtx(self._context)

    @property
    def needs_input(self) -> bool:
        """Whether there is no more output without more input."""
        return not self._full and self._at == len(self._data)

    @property
    def unused_data(self) -> bytes:
        """The input after the end of the frame."""
        return self._data[self._at :]

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most MAX_LENGTH more bytes of output. Raises BadInputError for damaged data."""
        self._data, self._at = self._data[self._at :] + data, 0
        room = ctypes.create_string_buffer(max_length)
        packed = ctypes.cast(ctypes.c_char_p(self._data), ctypes.c_void_p)
        source = _Buffer(packed, len(self._data), 0)
        into = _Buffer(ctypes.addressof(room), max_length, 0)
        more = self._lib.ZSTD_decompressStream(self._context, into, source)
        if self._lib.ZSTD_isError(more):
            raise _error(self._lib, more, self._where, max_length)
        self._at, self._full, self.eof = source.at, into.at == max_length, more == 0
        return ctypes.string_at(room, into.at)


def unpack(data: bytes, where: str, limit: int) -> bytes:
    """DATA unpacked. Raises BadInputError where it is damaged, or unpacks to over LIMIT bytes."""
    whole = Part(data, 0, len(data))
    return search(whole, where, limit, lambda _room, _size: None, lambda room, size: room[:size])


def search(
    part: Part,
    where: str,
    limit: int,
    look: Callable[[mmap.mmap, int], _T | None],
    end: Callable[[mmap.mmap, int], _T],
) -> _T:
    """The first result of LOOK while PART is unpacked; without one, the result of END.

    Both get the output and how many bytes of it are valid. LOOK returns None to go on. Raises as
    above.
    """
    lib = library()
    context = lib.ZSTD_createDCtx()
    try:
        lib.ZSTD_DCtx_setParameter(context, _STABLE_OUT, 1)
        with mmap.mmap(-1, limit) as room:
            start = ctypes.addressof(ctypes.c_char.from_buffer(room))
            packed = ctypes.cast(ctypes.c_char_p(part.data), ctypes.c_void_p)
            into, source = _Buffer(start, limit, 0), _Buffer(packed, 0, part.start)
            more = 1
            while source.at < part.end:
                source.size = min(source.at + _STEP, part.end)
                more = lib.ZSTD_decompressStream(context, into, source)
                if lib.ZSTD_isError(more):
                    raise _error(lib, more, where, limit)
                found = look(room, into.at)
                if found is not None:
                    return found
            if more:
                raise BadInputError(f"{where}: is cut short", _HINT)
            return end(room, into.at)
    finally:
        lib.ZSTD_freeDCtx(context)


def _error(lib: Any, code: int, where: str, limit: int) -> BadInputError:
    if lib.ZSTD_getErrorCode(code) == _TOO_SMALL:
        return BadInputError(f"{where}: unpacks to more than {limit >> 20} MB", _HINT)
    why = (lib.ZSTD_getErrorName(code) or b"").decode("ascii", "replace")
    return BadInputError(f"{where}: damaged compressed data: {why}", _HINT)
