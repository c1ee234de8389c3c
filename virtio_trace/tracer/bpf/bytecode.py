# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled BPF programs as data: their file, and the gaps in them. Pure.

A program has two kinds of gaps. Each instruction that loads a map, or the address of a map's value,
has the map's number (wire.MAPS) in the place of its file descriptor. Without BPF cookies, each
instruction that loads the probe point has the constant PROBE_POINT. The executor fills them
(executor/program.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.executor.program import PROBE_POINT

FUNCTIONS = ("vt_entry", "vt_entry_named", "vt_return", "vt_return_kept", "vt_module_load")
"""The programs of bpf/probe.bpf.c. All are of type kprobe but the last, which is a tracepoint's."""

_MAGIC = b"virtio-trace bytecode 1\n"
_CHECKSUM = 64  # a SHA-256 in hexadecimal
_INSTRUCTION = 8
_LD_IMM64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW: two instructions, each with half of the constant
_MAP_FD, _MAP_VALUE = 1, 2  # the source register: BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE


@dataclass(frozen=True, slots=True)
class Bytecode:
    """The programs, compiled for the kernels of one machine.

    ``functions``: each of FUNCTIONS with its instructions, of 8 bytes each. ``machine`` is as in
    ``uname -m``. ``cookie``: the programs ask for the BPF cookie (Linux 5.15); else they have the
    probe point as a constant. ``source`` is the hash of what was compiled, ``compiler`` what
    compiled it (``BCC 0.26.0``), ``found`` where it comes from: ``compiled now``, ``cache`` or
    ``package``.
    """

    functions: Mapping[str, bytes]
    machine: str
    cookie: bool
    source: str
    compiler: str
    found: str

    @property
    def origin(self) -> str:
        """For a recording's header: ``BCC 0.26.0, cache``."""
        return f"{self.compiler}, {self.found}"


def encode(code: Bytecode) -> bytes:
    """CODE as a file: a line with the version, a line with the SHA-256 of the rest, JSON."""
    body = {
        "machine": code.machine,
        "cookie": code.cookie,
        "source": code.source,
        "compiler": code.compiler,
        "functions": {name: text.hex() for name, text in code.functions.items()},
    }
    text = json.dumps(body).encode()
    return _MAGIC + hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def decode(data: bytes, found: str) -> Bytecode:
    """The Bytecode in a file; FOUND says where it was. Raises BadInputError."""
    head, text = data[: len(_MAGIC) + _CHECKSUM + 1], data[len(_MAGIC) + _CHECKSUM + 1 :]
    if head != _MAGIC + hashlib.sha256(text).hexdigest().encode() + b"\n":
        raise BadInputError("a bytecode file is damaged or of another version")
    try:
        return _bytecode(json.loads(text), found)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadInputError(f"a bytecode file has unexpected content: {error}") from error


def _bytecode(body: dict[str, Any], found: str) -> Bytecode:
    names = ("machine", "source", "compiler")
    machine, source, compiler = (body[name] for name in names)
    if not all(isinstance(value, str) for value in (machine, source, compiler)):
        raise TypeError(f"one of {', '.join(names)} is not a string")
    if not isinstance(body["cookie"], bool):
        raise TypeError("cookie is not a boolean")
    functions = {name: bytes.fromhex(text) for name, text in body["functions"].items()}
    code = Bytecode(functions, machine, body["cookie"], source, compiler, found)
    check(code)
    return code


def check(code: Bytecode) -> None:
    """Raises ValueError if CODE is not what a loader can complete: one of FUNCTIONS is missing, a
    map's number is not in wire.MAPS, or the place of the probe point is missing."""
    if code.functions.keys() != set(FUNCTIONS):
        raise ValueError(f"the functions are {', '.join(code.functions)}")
    for name, text in code.functions.items():
        for place, _ in map_loads(text):
            number = _immediate(text, place)
            if not 1 <= number <= len(wire.MAPS):
                raise ValueError(f"{name} loads map {number}, which does not exist")
        if bool(point_loads(text)) != (name != "vt_module_load" and not code.cookie):
            raise ValueError(f"{name} has a wrong number of places for the probe point")


def map_loads(code: bytes) -> list[tuple[int, int]]:
    """The instructions that load a map, or the address of its value: byte offset, map's number."""
    return [
        (place, _immediate(code, place))
        for place, source in _wide_loads(code)
        if source in (_MAP_FD, _MAP_VALUE)
    ]


def point_loads(code: bytes) -> list[int]:
    """The byte offsets of the instructions that load PROBE_POINT."""
    return [
        place
        for place, source in _wide_loads(code)
        if source == 0 and _immediate(code, place) | _second(code, place) << 32 == PROBE_POINT
    ]


def _wide_loads(code: bytes) -> Iterator[tuple[int, int]]:
    """The byte offset and the source register of each instruction with a 64-bit immediate.

    Raises ValueError if CODE is not a whole number of instructions, or none.
    """
    if not code or len(code) % _INSTRUCTION:
        raise ValueError(f"a program of {len(code)} bytes")
    place = 0
    while place < len(code):
        wide = code[place] == _LD_IMM64
        if wide:
            if place + 2 * _INSTRUCTION > len(code):
                raise ValueError("a program ends within an instruction")
            yield place, code[place + 1] >> 4
        place += 2 * _INSTRUCTION if wide else _INSTRUCTION


def _immediate(code: bytes, place: int) -> int:
    return int.from_bytes(code[place + 4 : place + 8], "little")


def _second(code: bytes, place: int) -> int:
    return _immediate(code, place + _INSTRUCTION)
