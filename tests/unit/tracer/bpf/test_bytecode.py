# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytecode as data: what a loader writes into it, and its file."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import replace
from typing import Any

import pytest

from virtio_trace.errors import BadInputError
from virtio_trace.tracer.bpf import bytecode, wire
from virtio_trace.tracer.bpf.bytecode import FUNCTIONS, Bytecode
from virtio_trace.tracer.executor.program import PROBE_POINT, linked

RETURN = struct.pack("<BBhi", 0x95, 0, 0, 0)


def wide(source: int, low: int, high: int = 0) -> bytes:
    """BPF_LD_IMM64 into r1."""
    return struct.pack("<BBhI", 0x18, source << 4 | 1, 0, low) + struct.pack("<BBhI", 0, 0, 0, high)


POINT = wide(0, PROBE_POINT & 0xFFFFFFFF, PROBE_POINT >> 32)
# The second half of a constant may look like any instruction.
TRICKY = wide(0, 7, 0x18) + wide(0, PROBE_POINT & 0xFFFFFFFF, 1)
PROGRAM = TRICKY + wide(1, 6) + POINT + wide(2, 4, 24) + RETURN


def code() -> Bytecode:
    functions = dict.fromkeys(FUNCTIONS, PROGRAM)
    functions["vt_module_load"] = wide(1, 1) + RETURN
    return Bytecode(functions, "x86_64", False, "ab" * 32, "BCC 0.26.0", "compiled now")


def test_the_places_that_a_loader_completes() -> None:
    assert bytecode.map_loads(PROGRAM) == [(32, 6), (64, 4)]
    assert bytecode.point_loads(PROGRAM) == [48]


def test_the_executor_completes_the_same_places() -> None:
    descriptors = [10 + n for n in range(len(wire.MAPS))]
    done = linked(PROGRAM, descriptors, (5, 0x1234))
    assert done == TRICKY + wide(1, 15) + wide(0, 5, 0x1234) + wide(2, 13, 24) + RETURN
    assert linked(PROGRAM, descriptors)[48:64] == POINT


def test_a_file_and_back() -> None:
    data = bytecode.encode(code())
    assert bytecode.decode(data, "cache") == replace(code(), found="cache")
    assert bytecode.decode(data, "cache").origin == "BCC 0.26.0, cache"


def test_a_damaged_file_is_refused() -> None:
    data = bytecode.encode(code())
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(BadInputError):
            bytecode.decode(bytes(damaged), "cache")
    for length in (0, 10, len(data) - 1):
        with pytest.raises(BadInputError):
            bytecode.decode(data[:length], "cache")
    with pytest.raises(BadInputError):
        bytecode.decode(data + b" ", "cache")


BROKEN_RETURNS = {
    "a map that does not exist": wide(1, len(wire.MAPS) + 1) + POINT,
    "map number 0": wide(2, 0) + POINT,
    "half an instruction": POINT + RETURN[:4],
    "half a constant": POINT + POINT[:8],
    "no instruction": b"",
    "no place for the point": RETURN,
}

BROKEN: dict[str, dict[str, Any]] = {
    "functions are missing": {"functions": {"vt_entry": PROGRAM}},
    "a function too many": {"functions": {**code().functions, "vt_more": PROGRAM}},
    "a point where there is none": {"functions": {**code().functions, "vt_module_load": PROGRAM}},
    "a constant beside cookies": {"cookie": True},
    "cookie is a number": {"cookie": 1},
    "no machine": {"machine": None},
    **{
        what: {"functions": {**code().functions, "vt_return": text}}
        for what, text in BROKEN_RETURNS.items()
    },
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_a_loader_cannot_complete_is_refused(what: str) -> None:
    data = bytecode.encode(replace(code(), **BROKEN[what]))
    with pytest.raises(BadInputError, match="unexpected content"):
        bytecode.decode(data, "cache")


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", "[" * 100_000, '{"functions": []}'])
def test_content_that_is_no_bytecode_is_refused(text: str) -> None:
    honest = bytecode.encode(code())
    body = text.encode()
    head = honest.split(b"\n")[0] + b"\n"
    with pytest.raises(BadInputError):
        bytecode.decode(head + hashlib.sha256(body).hexdigest().encode() + b"\n" + body, "cache")


def test_the_file_is_readable_text() -> None:
    first, _, body = bytecode.encode(code()).split(b"\n")
    assert re.fullmatch(rb"virtio-trace bytecode \d+", first)
    assert json.loads(body)["compiler"] == "BCC 0.26.0"
