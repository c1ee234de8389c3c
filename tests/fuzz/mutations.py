# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutations of an input: of its bytes, its lines, or the nodes of its JSON.

Pure, and deterministic for a given generator. The unit test uses them without atheris. The fuzzer
mixes them with libFuzzer's own, which rarely leave valid JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutate = Callable[[bytes, Random], bytes]

_NUMBERS = (b"0", b"-1", b"255", b"4294967296", b"18446744073709551616", b"9" * 5000, b"1e999")
_TEXTS = (b"\0", b"\xff\xfe", "²".encode(), "\ud800".encode("utf-8", "surrogatepass"), b"\n", b"\r")
_JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 1.5, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 64, float("inf"), float("nan"),
    "", "x", "0x", "0x1", "\ud800", "\0", "a" * 300, [], [[]], {}, {"": None},
)  # fmt: skip


def binary(data: bytes, random: Random, words: Sequence[bytes] = ()) -> bytes:
    """Change one bit or number; repeat, move or cut a part; or put in one of WORDS."""
    at = random.randrange(len(data) + 1)
    size = min(1 << random.randrange(8), len(data) - at)
    kind = random.randrange(8)
    if kind == 0 and at < len(data):
        return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
    if kind == 1:
        number = random.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 64) - 1))
        raw = number.to_bytes(8, "little")[: random.choice((1, 2, 4, 8))]
        return data[:at] + raw + data[at + len(raw) :]
    if kind == 2:
        return data[:at] + data[at + size :]
    if kind == 3:
        return data[:at] + data[at : at + size] * random.choice((2, 3, 50)) + data[at + size :]
    if kind == 4:
        other = random.randrange(len(data) + 1)
        return data[:at] + data[other : other + size] + data[at:]
    if kind == 5:
        return data[:at]
    word = random.choice((*words, *_NUMBERS, *_TEXTS))
    return data[:at] + word + data[at + (size if kind == 6 else 0) :]


def lines(data: bytes, random: Random) -> bytes:
    """Remove, repeat or replace one line."""
    found = data.splitlines(keepends=True) or [b""]
    line = found[random.randrange(len(found))]
    place = random.randrange(len(found))
    kind = random.randrange(3)
    if kind == 0:
        del found[place]
    elif kind == 1:
        found.insert(place, line)
    else:
        found[place] = line
    return b"".join(found)


def json_lines(data: bytes, random: Random) -> bytes:
    """Change one node of one JSON line."""
    found = data.splitlines(keepends=True)
    if not found:
        return data
    place = random.choice((0, len(found) - 1, random.randrange(len(found))))
    try:
        whole = json.loads(found[place])
        # A mutated line may nest too deep to be written, a number be too long.
        text = json.dumps(_changed(whole, random), separators=(",", ":"))
    except (ValueError, RecursionError):
        return binary(data, random)
    found[place] = text.encode() + b"\n"
    return b"".join(found)


def _changed(node: Any, random: Random) -> Any:
    """NODE, with one node below it replaced, removed or repeated."""
    if isinstance(node, dict) and node and random.random() < 0.9:
        key = random.choice(list(node))
        if random.random() < 0.1:
            return {name: value for name, value in node.items() if name != key}
        return {**node, key: _changed(node[key], random)}
    if isinstance(node, list) and node and random.random() < 0.9:
        at = random.randrange(len(node))
        kind = random.random()
        if kind < 0.1:
            return [*node[:at], *node[at + 1 :]]
        if kind < 0.2:
            return [*node[:at], node[random.randrange(len(node))], *node[at:]]
        return [*node[:at], _changed(node[at], random), *node[at + 1 :]]
    if isinstance(node, int) and random.random() < 0.5:
        return node + random.choice((-1, 1, 256, -node, 1 << 31, 1 << 32))
    if isinstance(node, str) and random.random() < 0.5:
        at = random.randrange(len(node) + 1)
        return node[:at] + random.choice(("0", "x", " ", "\0", "é", "\n", '"', "\x1b")) + node[at:]
    return random.choice(_JSON_VALUES)
