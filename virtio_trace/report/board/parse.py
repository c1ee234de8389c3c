# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a board from TOML. What is not understood is an error that names the line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from virtio_trace.errors import BadInputError
from virtio_trace.report.board import contradictions
from virtio_trace.report.board.lines import Path, line_of, lines_of
from virtio_trace.report.board.model import Board, Expected
from virtio_trace.report.state import BOUND, FAILED, UNBOUND
from virtio_trace.virtio import features, numbers

LARGEST = 1 << 20
"""The most bytes that a board may have."""

_MOST = 65536
"""The most devices, virtqueues and vectors."""

_HINT = "docs/board.md has every key; virtio-trace board RECORDING writes a board"
_TRANSPORTS = ("pci-modern", "pci-legacy", "mmio", "ccw", "vdpa")
_STATES = (BOUND, FAILED, UNBOUND)
_TYPES = tuple(numbers.DEVICE_TYPES.values())
_OTHER_TYPE = re.compile(r"id-[0-9]{1,10}")
_BLOCK = 2
"""VIRTIO_ID_BLOCK."""


def parse(data: bytes, name: str) -> Board:
    """The board in DATA, the content of the file NAME. Raises BadInputError."""
    if len(data) > LARGEST:
        raise BadInputError(f"{name}: larger than {LARGEST >> 20} MiB: not a board", _HINT)
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{name}: not TOML: {error}", _HINT) from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name}: not TOML: not UTF-8 (byte {error.start})", _HINT) from error
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of 5000 digits
        raise BadInputError(f"{name}: not TOML: {error}", _HINT) from error
    return _Parser(text, name).board(top)


class _Parser:
    """Checks a document of TOML; TEXT is that of the file NAME."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name

    def board(self, top: dict[str, Any]) -> Board:
        """The board in TOP."""
        self._known(top, ("board", "device"), ())
        general = self._table(top.get("board", {}), ("board",))
        self._known(general, _GENERAL, ("board",))
        values = {key: self._value(general, key, ("board", key), _GENERAL) for key in general}
        listed = top.get("device", [])
        if not isinstance(listed, list):
            self._fail(("device",), "device is not an array of tables: write [[device]]")
        devices = tuple(self._device(one, ("device", n)) for n, one in enumerate(listed))
        board = Board(devices, **values)
        if not top or board == Board():
            self._fail((), "the board expects nothing")
        self._same_address(devices)
        return board

    def _device(self, raw: Any, path: Path) -> Expected:
        table = self._table(raw, path)
        self._known(table, _DEVICE, path)
        values = {key: self._value(table, key, (*path, key), _DEVICE) for key in table}
        expected = Expected(**values)
        found = contradictions.of(expected, table.keys())
        if found is not None:
            key, message = found
            self._fail((*path, key) if key else path, message)
        return expected

    def _value(self, table: dict[str, Any], key: str, path: Path, rules: _Rules) -> Any:
        try:
            return rules[key](table[key])
        except _WrongError as error:
            self._fail(path, f"{key}: {error}")

    def _table(self, raw: Any, path: Path) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self._fail(path, f"{path[0]} is not a table: write [{path[0]}]")
        return raw

    def _known(self, table: dict[str, Any], known: Iterable[str], path: Path) -> None:
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key[:64], [*known], 1)
                meant = f"; {close[0]}?" if close else f": known are {', '.join(known)}"
                self._fail((*path, key), f"unknown key {key[:64]}{meant}")

    def _same_address(self, devices: tuple[Expected, ...]) -> None:
        first: dict[str, int] = {}
        for number, one in enumerate(devices):
            if one.address is not None and first.setdefault(one.address, number) != number:
                line = line_of(lines_of(self._text), ("device", first[one.address]))
                message = f"{one.address} is the device of line {line}, too"
                self._fail(("device", number, "address"), message)

    def _fail(self, path: Path, message: str) -> NoReturn:
        where = f", line {line_of(lines_of(self._text), path)}" if path else ""
        raise BadInputError(f"{self._name}{where}: {message}", _HINT)


class _WrongError(Exception):
    """What is wrong with a value."""


def _string(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _WrongError("not a string, or an empty one")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("neither true nor false")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MOST:
        raise _WrongError(f"not a whole number from 1 to {_MOST}")
    return value


def _milliseconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < 1e9:
        raise _WrongError("not a number of milliseconds above 0")
    return float(value)


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in known:
            raise _WrongError(f"{_shown(value)} is none of {', '.join(known)}")
        return str(value)

    return check


def _type(value: Any) -> str:
    text = _string(value)
    if text not in _TYPES and not _OTHER_TYPE.fullmatch(text):
        close = difflib.get_close_matches(text[:64], _TYPES, 1, 0.5)
        meant = f"; {close[0]}?" if close else ": it is the kernel's VIRTIO_ID_ in lower case"
        raise _WrongError(f"unknown type {_shown(text)}{meant}")
    return text


def _address(value: Any) -> str:
    text = _string(value)
    if text.count(":") == 1 and "." in text:
        raise _WrongError(f"{_shown(text)} lacks the PCI domain: 0000:{text[:32]}?")
    return text


def _strings(value: Any) -> tuple[str, ...]:
    one_or_more = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(_string(one) for one in one_or_more))


def _features(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _WrongError("not an array of names")
    return tuple(dict.fromkeys(_feature(one) for one in value))


def _feature(value: Any) -> str:
    """The newer name of a feature that has two (features.ALIASES)."""
    text = _string(value)
    number = features.ALIASES.get(text)
    if number is None:
        return text
    return features.name(_BLOCK if text.startswith("VIRTIO_BLK_F_") else None, number)


def _shown(value: Any) -> str:
    return str(value)[:64]


_Rules = dict[str, Callable[[Any], Any]]

_GENERAL: _Rules = {"only": _boolean, "kernel": _strings}
_DEVICE: _Rules = {
    "address": _address,
    "type": _type,
    "count": _count,
    "driver": _string,
    "transport": _one_of(_TRANSPORTS),
    "state": _one_of(_STATES),
    "features": _features,
    "without": _features,
    "queues": _count,
    "vectors": _count,
    "probe_ms": _milliseconds,
    "optional": _boolean,
}
"""The keys of [board] and [[device]], each with what reads its value."""
