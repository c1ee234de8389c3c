# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the tables that scripts/kallsyms.c writes into a kernel's .rodata, in the image's bytes.

Names, each a list of tokens; ``markers``, where every 256th name starts; the table of tokens and
its index; the symbols' offsets. They are found by what they contain, because their order and
meaning changed: the offsets stood before the names, and stand after the tokens since 6.4 (commit
404bad70fcf7); names of more than 127 tokens came with 6.1 (commit 73bbb94466fd). Offsets counted
from a base; or were a per-CPU symbol's address where they are not negative (until 6.15, commit
01157ddc58dc); they count from their own place since 7.0 (commit a081b5789255).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import accumulate

_DIGITS = re.compile(b"".join(b"%d\x00" % digit for digit in range(10)))
_NAMES = 256
"""Names from one marker to the next (scripts/kallsyms.c, write_src)."""
_LONGEST = 512
"""KSYM_NAME_LEN: no name has more tokens."""


def aligned(number: int, size: int) -> int:
    return -(-number // size) * size


def _signed(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(raw) // 4}i", raw)


def from_place(raw: bytes, _base: int, place: int) -> list[int]:
    """Each offset counts from its own place (since 7.0)."""
    return [place + 4 * i + offset for i, offset in enumerate(_signed(raw))]


def per_cpu(raw: bytes, base: int, _place: int) -> list[int]:
    """CONFIG_KALLSYMS_ABSOLUTE_PERCPU: an offset that is not negative is an address."""
    return [offset if offset >= 0 else base - 1 - offset for offset in _signed(raw)]


def from_base(raw: bytes, base: int, _place: int) -> list[int]:
    """Each offset counts from the base."""
    return [base + offset for offset in struct.unpack(f"<{len(raw) // 4}I", raw)]


def token_tables(data: bytes) -> Iterator[tuple[list[bytes], int, int]]:
    """256 strings, followed by where each starts: (tokens, offset of the index, of the table).

    Every kernel's names contain digits, and each digit's token is itself, at its own number.
    """
    for digits in _DIGITS.finditer(data):
        start = digits.start()
        for _ in range(ord("0") + 1):
            start = data.rfind(b"\0", 0, start)
            if start < 0:
                return
        start += 1
        tokens = data[start : start + (1 << 16)].split(b"\0", 256)[:256]
        begins = list(accumulate((len(token) + 1 for token in tokens), initial=0))
        if begins[-1] >= 1 << 16 or len(tokens) < 256:
            continue
        index = struct.pack("<256H", *begins[:256])
        end = start + begins[-1]
        at = data.find(index, end, end + 8 + len(index))
        if at >= 0:
            yield tokens, at, start


def markers_before(data: bytes, end: int) -> Iterator[tuple[int, list[int]]]:
    """Numbers before END that grow from 0 by the size of 256 names: (offset in the file, numbers).

    Some kernels have another table between markers and tokens, of 3 bytes per symbol: it came with
    6.2 (commits 60443c88f3a8, 19bd8981dc2e) and 6.1.y, and stands after the offsets since 6.4.
    """
    at = end
    while (at := data.rfind(b"\0\0\0\0", max(0, end - (4 << 20)), at + 3)) >= 0:
        found = [0]
        while at % 4 == 0 and at + 4 * len(found) + 4 <= end:
            (number,) = struct.unpack_from("<I", data, at + 4 * len(found))
            if not 2 * _NAMES <= number - found[-1] <= (_LONGEST + 2) * _NAMES:
                break
            found.append(number)
        if len(found) > 8:
            yield at, found


def names_before(data: bytes, end: int, markers: list[int]) -> tuple[int, list[bytes]] | None:
    """The names that end before END: (offset of the first in the file, names as tokens).

    Their number stands before the first, in 8 bytes or, since 7.0 (commit a081b5789255), in 4; it
    must agree with the markers.
    """
    last = end - markers[-1]
    for number in range(last - last % 4, max(8, last - (_LONGEST + 2) * _NAMES), -4):
        (count,) = struct.unpack_from("<I", data, number)
        if not 0 <= len(markers) * _NAMES - count < _NAMES:
            continue
        for start in (number + 4, number + 8):
            found = _read_names(data, start, end, count, markers)
            if found is not None:
                return start, found
    return None


def _read_names(
    data: bytes, start: int, end: int, count: int, markers: list[int]
) -> list[bytes] | None:
    """COUNT names from START; None where one does not start where its marker says."""
    out = []
    at = start
    for number in range(count):
        if number % _NAMES == 0 and at - start != markers[number // _NAMES]:
            return None
        size = data[at]
        at += 1
        if size & 0x80:  # a long name: seven bits, then the rest
            size = size & 0x7F | data[at] << 7
            at += 1
        if not size or at + size > end:
            return None
        out.append(data[at : at + size])
        at += size
    return out if end - at < 16 else None
