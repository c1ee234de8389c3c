# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors and a probe point in a program's instructions; the reader of a BPF ring's pieces."""

from __future__ import annotations

import struct
from random import Random

import pytest

from virtio_trace.tracer.executor.program import PROBE_POINT, linked
from virtio_trace.tracer.executor.ring import split


def load64(source: int, value: int) -> bytes:
    """BPF_LD_IMM64 of VALUE to r1, with SOURCE, a BPF_PSEUDO_*."""
    low, high = value & 0xFFFFFFFF, value >> 32
    return struct.pack("<BBhIBBhI", 0x18, source << 4 | 1, 0, low, 0, 0, 0, high)


EXIT = b"\x95" + bytes(7)


def test_maps_get_their_descriptors() -> None:
    code = load64(1, 1) + EXIT + load64(2, 2 | 8 << 32) + load64(1, 1)
    assert linked(code, [70, 71]) == load64(1, 70) + EXIT + load64(2, 71 | 8 << 32) + load64(1, 70)


def test_the_point_goes_where_its_constant_was() -> None:
    code = load64(0, PROBE_POINT) + EXIT
    assert linked(code, [], (5, 0x80000001)) == load64(0, 5 | 0x80000001 << 32) + EXIT
    assert linked(code, []) == code


def test_other_constants_stay() -> None:
    code = load64(0, PROBE_POINT + 1) + load64(0, 1) + load64(0, PROBE_POINT ^ 1 << 40) + EXIT
    assert linked(code, [9], (5, 6)) == code


def test_the_second_half_of_a_load_is_no_instruction() -> None:
    """Its bytes may look like one."""
    halves = load64(0, 0)[:8] + load64(1, 1)[:8] + EXIT
    assert linked(halves, [9]) == halves


@pytest.mark.parametrize("number", [0, 3, 0xFFFFFFFF])
def test_a_map_that_is_not_there(number: int) -> None:
    with pytest.raises(ValueError, match="the program has no map"):
        linked(load64(1, number), [5, 6])


def test_a_load_without_its_second_half() -> None:
    assert linked(load64(1, 7)[:8], []) == load64(1, 7)[:8]


def ring(*records: bytes, flags: int = 0) -> bytes:
    return b"".join(struct.pack("<II", len(r) | flags, 9) + r + bytes(-len(r) % 8) for r in records)


def test_records_are_taken_apart() -> None:
    records = [b"", b"a", b"12345678", b"x" * 400]
    assert split(ring(*records)) == records
    assert split(ring(b"a") + ring(b"gone", flags=1 << 30) + ring(b"b")) == [b"a", b"b"]


def test_a_length_that_is_too_long_ends_the_list() -> None:
    whole = ring(b"a", b"bb")
    assert split(whole[:-7]) == [b"a"]
    assert split(ring(b"a") + b"\xff" * 8 + ring(b"b")) == [b"a"]
    for length in range(len(whole)):
        assert split(whole[:length]) == [b"a", b"bb"][: (length >= 9) + (length >= 26)]


def test_any_bytes_are_taken() -> None:
    random = Random(3)
    for _ in range(300):
        data = random.randbytes(random.randrange(200))
        assert sum(map(len, split(data))) <= len(data)
    assert len(split(bytes(1 << 16))) == 1 << 13
