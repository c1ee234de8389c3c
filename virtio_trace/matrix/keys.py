# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of a plan and their kinds. A key that is not here is an error, with its line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any

from virtio_trace.matrix.settings import VERDICTS
from virtio_trace.matrix.toml_file import Place, TomlFile

MOST_BOOTS = 10_000
_LONGEST_TIMEOUT = 86_400

Kind = tuple[str, Callable[[Any], bool]]
"""What a value must be, in words, and whether one is."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_seconds(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value <= _LONGEST_TIMEOUT


def _is_verdicts(value: Any) -> bool:
    named = [value] if isinstance(value, str) else value
    return isinstance(named, list) and bool(named) and all(one in VERDICTS for one in named)


def _one_of(*words: str) -> Kind:
    return f"one of {', '.join(words)}", lambda value: value in words


_TEXT: Kind = ("a string", _is_text)
_TEXTS: Kind = ("an array of strings", _is_texts)
_TABLE: Kind = ("a table", lambda value: isinstance(value, dict))
_TABLES: Kind = (
    "an array of tables, as [[case]] makes it",
    lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
)
_BOOL: Kind = ("true or false", lambda value: isinstance(value, bool))
_COUNT: Kind = (
    f"a number from 1 to {MOST_BOOTS}",
    lambda value: (
        isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_BOOTS
    ),
)

SETTINGS: dict[str, Kind] = {
    "append": _TEXT,
    "timeout": (f"seconds, more than 0 and at most {_LONGEST_TIMEOUT}", _is_seconds),
    "accel": _one_of("auto", "kvm", "tcg"),
    "collector": _one_of("auto", "bpf", "ftrace"),
    "boot_events": _BOOL,
    "run": _TEXT,
    "until": _TEXT,
    "boots": _COUNT,
    "qemu": _TEXTS,
    "expect": _TABLE,
}
"""Keys that the plan, a kernel, a board and a case may have."""

SOURCE: dict[str, Kind] = {
    "debian": _TEXT,
    "vmlinuz": _TEXT,
    "modules": _TEXT,
    "initrd": _TEXT,
    "image": _TEXT,
    "backing": _TEXTS,
}
PLAN = {**SETTINGS, "kernel": _TABLE, "board": _TABLE, "case": _TABLES}
KERNEL = {**SETTINGS, **SOURCE}
BOARD = {**SETTINGS, "devices": _TEXTS}
CASE = {**SETTINGS, "kernels": _TEXTS, "boards": _TEXTS}
EXPECT: dict[str, Kind] = {
    "verdict": (f"one or more of {', '.join(VERDICTS)}", _is_verdicts),
    "errors": _TEXTS,
    "board": _TEXT,
    "strict": _BOOL,
}


def check(file: TomlFile, place: Place, table: Mapping[str, Any], keys: Mapping[str, Kind]) -> None:
    """Raises BadInputError unless TABLE, at PLACE, has only KEYS, each of its kind."""
    for key, value in table.items():
        here = (*place, key)
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(keys)}"
            raise file.error(here, f"unknown key {key}", hint)
        words, is_kind = keys[key]
        if not is_kind(value):
            raise file.error(here, f"{key} is not {words}")
        if key == "expect":
            check(file, here, value, EXPECT)
