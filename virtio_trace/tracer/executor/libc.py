# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls functions of the C library, and reads and writes memory at an address.

The package ctypes is built on the module _ctypes, which is all that is needed here. To import the
package costs a guest 8 million instructions, most of them for types that nothing here uses.
"""

from __future__ import annotations

import posix
from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)

_LIBC = dlopen(None, posix.RTLD_NOW)  # type: ignore[arg-type]  # the program, which has libc's names


class _Long(_SimpleCData):  # type: ignore[type-arg]  # it takes none when it runs
    """A C long: numbers, and addresses, which have its size."""

    _type_ = "l"


class _Byte(_SimpleCData):  # type: ignore[type-arg]
    """A C char."""

    _type_ = "c"


class Function(CFuncPtr):
    """A function of the C library that takes longs and returns one."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def function(name: str, arguments: int) -> Function:
    """The function NAME, which takes so many ARGUMENTS. Raises OSError: there is none."""
    found = Function(dlsym(_LIBC, name))
    found.argtypes = (_Long,) * arguments
    return found


def error_number() -> int:
    """errno after the last call of this thread."""
    return get_errno()


def address(buffer: bytearray) -> int:
    """Where BUFFER is, which must not be empty. It stays there while its size does."""
    return addressof(_Byte.from_buffer(buffer))


def variable(name: str) -> int:
    """The value of the C library's variable NAME, a long or a pointer. Raises OSError: there is
    none."""
    return int(_Long.from_address(dlsym(_LIBC, name)).value)


def byte_at(place: int) -> _Byte:
    """The byte at address PLACE; its ``value`` can be set."""
    return _Byte.from_address(place)
