# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of values that were read from JSON. A reader trusts nothing in a recording.

Each function returns its value or raises TypeError or ValueError. ``damaged`` turns those into
the BadInputError that a user sees. Members of an object that a reader does not know are ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from virtio_trace.errors import BadInputError

_T = TypeVar("_T")

NUMBER_END = 1 << 63
"""The kernel's numbers fit in 64 bits. A larger one is damage, and would not fit in a float."""

U32_END = 1 << 32

JsonObject = dict[str, Any]


@contextlib.contextmanager
def damaged(what: str, hint: str = "") -> Iterator[None]:
    """Raise BadInputError, naming WHAT, in place of what the body raises for a wrong value."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BadInputError(f"damaged {what}: {said}", hint) from error


def string(value: Any) -> str:
    """A string. Raises TypeError."""
    if type(value) is not str:
        raise TypeError("not a string")
    return value


def boolean(value: Any) -> bool:
    """True or false. Raises TypeError."""
    if type(value) is not bool:
        raise TypeError("not true or false")
    return value


def count(value: Any) -> int:
    """An integer from 0 to 2^63 - 1. Raises TypeError."""
    if not is_count(value):
        raise TypeError("not a number")
    return int(value)


def u32(value: Any) -> int:
    """An integer from 0 to 2^32 - 1. Raises ValueError."""
    if type(value) is not int or not 0 <= value < U32_END:
        raise ValueError("not a number of 32 bits")
    return value


def integer(value: Any) -> int:
    """An integer that fits in 64 bits with a sign. Raises TypeError."""
    if type(value) is not int or not -NUMBER_END <= value < NUMBER_END:
        raise TypeError("not a number")
    return value


def is_count(value: Any) -> bool:
    """Whether VALUE is an integer from 0 to 2^63 - 1. True and False are not."""
    return type(value) is int and 0 <= value < NUMBER_END


def optional(check: Callable[[Any], _T], value: Any) -> _T | None:
    """VALUE by CHECK, or None for null."""
    return None if value is None else check(value)


def member(name: str, check: Callable[[Any], _T], value: Any) -> _T | None:
    """Like :func:`optional`, but errors name the member. Raises ValueError, BadInputError."""
    try:
        return optional(check, value)
    except KeyError as error:
        raise ValueError(f"{name}: no {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from error


def array(value: Any) -> list[Any]:
    """A list. Raises TypeError."""
    if type(value) is not list:
        raise TypeError("not a list")
    return value


def obj(value: Any) -> JsonObject:
    """An object. Raises TypeError."""
    if type(value) is not dict:
        raise TypeError("not an object")
    return value


def strings(value: Any) -> tuple[str, ...]:
    """A list of strings. Raises TypeError."""
    return tuple(string(item) for item in array(value))


def objects(value: Any) -> list[JsonObject]:
    """A list of objects. Raises TypeError."""
    return [obj(item) for item in array(value)]


def mapping(check: Callable[[Any], _T], value: Any) -> dict[str, _T]:
    """An object whose members all pass CHECK. Raises TypeError, ValueError."""
    return {string(name): check(member) for name, member in obj(value).items()}
