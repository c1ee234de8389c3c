# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan's file: what is written is read; what is damaged is refused."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from tests.unit.tracer.session.guest_streams import task
from virtio_trace.tracer.executor import plan as file
from virtio_trace.tracer.executor.plan import Event, Map, Plan, Point, Program, decode, encode

SMALL = Plan(
    release="6.1-x",
    build_id=b"\1\2",
    machine="x86_64",
    cookie=False,
    maps=[Map(27, 0, 0, 4096), Map(2, 4, 16, 1)],
    ring=1,
    count=2,
    values=[(2, bytes(4), b"v" * 16)],
    programs=[Program("vt_entry", file.KPROBE, b"\x95" + bytes(7))],
    points=[Point(0, 7, [Event(0, "", "vtx/a_0", "p:vtx/a_0 a"), Event(0, "vt/b", "", "")])],
    boot_group="vt",
    confirm=[b"virtio_net"],
)


def members(thing: Any) -> Any:
    """THING with all that is in it, to be compared."""
    if isinstance(thing, list | tuple):
        return [members(one) for one in thing]
    if hasattr(thing, "__slots__"):
        return {name: members(getattr(thing, name)) for name in thing.__slots__}
    return thing


@pytest.mark.parametrize("plan", [SMALL, task().plan])
def test_what_is_written_is_read(plan: Plan) -> None:
    assert members(decode(encode(plan))) == members(plan)


def test_every_truncation_is_refused() -> None:
    data = encode(SMALL)
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"plan"):
            decode(data[:length])
    with pytest.raises(ValueError, match="damaged"):
        decode(data + b"\0")


def test_every_flipped_byte_is_refused() -> None:
    data = encode(SMALL)
    for at in range(len(data)):
        for bit in (1, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= bit
            with pytest.raises(ValueError, match=r"plan"):
                decode(bytes(damaged))


def checked(body: bytes) -> bytes:
    """BODY as a file with a right checksum."""
    return file._HEAD.pack(file.MAGIC, file.VERSION, zlib.crc32(body), len(body)) + body


def test_a_body_that_is_wrong_is_refused_or_read_without_another_error() -> None:
    body = encode(SMALL)[file._HEAD.size :]
    refused = 0
    for at in range(len(body)):
        with pytest.raises(ValueError):
            decode(checked(body[:at]))
        for value in (0, 1, 0x7F, 0xFF):
            try:
                decode(checked(body[:at] + bytes([value]) + body[at + 1 :]))
            except ValueError:
                refused += 1
    assert refused > len(body)


def test_a_number_of_items_takes_no_memory_before_it_is_checked() -> None:
    body = encode(SMALL)[file._HEAD.size :]
    at = 4 + 5 + 4 + 2 + 4 + 6 + 4  # the number of maps
    assert body[at : at + 4] == b"\2\0\0\0"
    with pytest.raises(ValueError, match="damaged"):
        decode(checked(body[:at] + b"\xff\xff\xff\xff" + body[at + 4 :]))


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("ring", 0, "no map 0"),
        ("ring", 3, "no map 3"),
        ("count", 9, "no map 9"),
        ("values", [(4, b"", b"")], "no map 4"),
        ("programs", [], "lacks a program"),
        ("programs", [Program("a", 2, b"1234567")], "whole number of instructions"),
    ],
)
def test_numbers_must_name_something(member: str, value: Any, words: str) -> None:
    changed = decode(encode(SMALL))
    setattr(changed, member, value)
    with pytest.raises(ValueError, match=words):
        decode(encode(changed))


def test_another_version_is_named() -> None:
    data = bytearray(encode(SMALL))
    data[6] = 9
    with pytest.raises(ValueError, match="version 9, this executor reads 1"):
        decode(bytes(data))
