# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan: what to load, define and attach on one kernel; and the file that has one.

The file: a magic, a version, a CRC-32 and the length of what follows; then, little-endian, each
member in the order of Plan.__init__. Texts, bytes and lists have their length in front.
"""

from __future__ import annotations

import struct
import zlib

MAGIC = b"VTPLAN"
VERSION = 1
_HEAD = struct.Struct("<6sHII")  # magic, version, CRC-32, length
_unpack_number = struct.Struct("<I").unpack_from
MOST_BYTES = 1 << 22
"""A plan has about 30 KB."""

NO_POINT = 0xFFFFFFFF
"""The number of what is no probe point: the tracepoint module:module_load."""

KPROBE, TRACEPOINT = 2, 5
"""enum bpf_prog_type (include/uapi/linux/bpf.h)."""


class Map:
    """A BPF map: enum bpf_map_type, sizes of key and value in bytes, number of entries."""

    __slots__ = ("entries", "key", "kind", "value")

    def __init__(self, kind: int, key: int, value: int, entries: int) -> None:
        self.kind, self.key, self.value, self.entries = kind, key, value, entries


class Program:
    """A BPF program: its function's name, enum bpf_prog_type, and instructions. Loads of maps have
    the map's number in place of its descriptor (program.py)."""

    __slots__ = ("code", "kind", "name")

    def __init__(self, name: str, kind: int, code: bytes) -> None:
        self.name, self.kind, self.code = name, kind, code


class Event:
    """A tracefs event and the number of the program for it.

    KNOWN (GROUP/NAME) is attached to if the kernel has it. Else LINE is written to kprobe_events,
    which defines PLACE (GROUP/NAME). Either may be empty.
    """

    __slots__ = ("known", "line", "place", "program")

    def __init__(self, program: int, known: str, place: str, line: str) -> None:
        self.program, self.known, self.place, self.line = program, known, place, line


class Point:
    """What is armed as one: a probe point's NUMBER and shape (bpf/events.h), with its events."""

    __slots__ = ("events", "number", "shape")

    def __init__(self, number: int, shape: int, events: list[Event]) -> None:
        self.number, self.shape, self.events = number, shape, events


class Plan:
    """What to do on the kernel RELEASE (uname -r) with BUILD_ID (its ELF note; empty: unknown).

    COOKIE: programs get a point's number and shape by BPF cookie, else a program is loaded for each
    point with them as a constant. Maps are numbered from 1; RING and COUNT are the numbers of the
    ring buffer and of the array with struct vt_count. VALUES are set before anything is attached:
    the map's number, key, value.

    BOOT_GROUP: the group of the boot-time events whose ring is read; empty: there are none.
    CONFIRM: names of modules after whose loading the kernel's list of kprobes is read. FILES: of
    which files, in lib/modules/RELEASE, it is asked whether the first root has them.
    """

    __slots__ = (
        *("release", "build_id", "machine", "cookie", "maps", "ring", "count", "values"),
        *("programs", "points", "boot_group", "confirm", "files"),
    )

    def __init__(
        self,
        *,
        release: str,
        build_id: bytes,
        machine: str,
        cookie: bool,
        maps: list[Map],
        ring: int,
        count: int,
        values: list[tuple[int, bytes, bytes]],
        programs: list[Program],
        points: list[Point],
        boot_group: str = "",
        confirm: list[bytes] | None = None,
        files: list[str] | None = None,
    ) -> None:
        self.release = release
        self.build_id = build_id
        self.machine = machine
        self.cookie = cookie
        self.maps = maps
        self.ring = ring
        self.count = count
        self.values = values
        self.programs = programs
        self.points = points
        self.boot_group = boot_group
        self.confirm = confirm or []
        self.files = files or []


def encode(plan: Plan) -> bytes:
    """The file of PLAN."""
    out = [_text(plan.release), _bytes(plan.build_id), _text(plan.machine), _number(plan.cookie)]
    out.append(_number(len(plan.maps)))
    for one in plan.maps:
        out += [_number(n) for n in (one.kind, one.key, one.value, one.entries)]
    out += [_number(plan.ring), _number(plan.count), _number(len(plan.values))]
    for number, key, value in plan.values:
        out += [_number(number), _bytes(key), _bytes(value)]
    out.append(_number(len(plan.programs)))
    for program in plan.programs:
        out += [_text(program.name), _number(program.kind), _bytes(program.code)]
    out.append(_number(len(plan.points)))
    for point in plan.points:
        out += [_number(point.number), _number(point.shape), _number(len(point.events))]
        for event in point.events:
            out += [_number(event.program)]
            out += [_text(text) for text in (event.known, event.place, event.line)]
    out += [_text(plan.boot_group), _number(len(plan.confirm)), *map(_bytes, plan.confirm)]
    out += [_number(len(plan.files)), *map(_text, plan.files)]
    body = b"".join(out)
    return _HEAD.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body


def decode(data: bytes) -> Plan:
    """The plan in a file's DATA. Raises ValueError: damaged, or of another version."""
    if len(data) < _HEAD.size:
        raise ValueError("the plan is cut short")
    magic, version, checksum, length = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise ValueError("this is not a plan")
    if version != VERSION:
        raise ValueError(f"the plan has version {version}, this executor reads {VERSION}")
    body = data[_HEAD.size :]
    if len(body) != length or zlib.crc32(body) != checksum:
        raise ValueError("the plan is damaged")
    read = _Reader(body)
    plan = Plan(
        release=read.text(),
        build_id=read.data(),
        machine=read.text(),
        cookie=bool(read.number()),
        maps=[
            Map(read.number(), read.number(), read.number(), read.number()) for _ in read.items()
        ],
        ring=read.number(),
        count=read.number(),
        values=[(read.number(), read.data(), read.data()) for _ in read.items()],
        programs=[Program(read.text(), read.number(), read.data()) for _ in read.items()],
        points=[
            Point(
                read.number(),
                read.number(),
                [Event(read.number(), read.text(), read.text(), read.text()) for _ in read.items()],
            )
            for _ in read.items()
        ],
        boot_group=read.text(),
        confirm=[read.data() for _ in read.items()],
        files=[read.text() for _ in read.items()],
    )
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    for number in (plan.ring, plan.count, *(number for number, _, _ in plan.values)):
        if not 1 <= number <= len(plan.maps):
            raise ValueError(f"the plan has no map {number}")
    for point in plan.points:
        if any(event.program >= len(plan.programs) for event in point.events):
            raise ValueError("the plan lacks a program")
    if any(len(program.code) % 8 for program in plan.programs):
        raise ValueError("a program is not a whole number of instructions")


class _Reader:
    """Reads a plan's body from its start. Raises ValueError at its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def number(self) -> int:
        at = self._at
        self._at = end = at + 4
        if end > len(self._body):
            raise ValueError("the plan is damaged")
        number: int = _unpack_number(self._body, at)[0]
        return number

    def data(self) -> bytes:
        start = self._at + 4
        end = start + self.number()
        if end > len(self._body):
            raise ValueError("the plan is damaged")
        self._at = end
        return self._body[start:end]

    def text(self) -> str:
        return self.data().decode()

    def items(self) -> range:
        """To repeat what follows as often as the number before it says; each item has 4 bytes at
        least."""
        count = self.number()
        if count > len(self._body) // 4:
            raise ValueError("the plan is damaged")
        return range(count)


def _number(number: int) -> bytes:
    return int(number).to_bytes(4, "little")


def _bytes(data: bytes) -> bytes:
    return _number(len(data)) + data


def _text(text: str) -> bytes:
    return _bytes(text.encode())
