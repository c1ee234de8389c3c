# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of a relocatable ELF file: its header, its sections, and the entries in them.

All are unpacked with ``struct``: an object per entry costs seconds in an emulated guest. Layouts:
Elf64_Ehdr, Elf64_Shdr, Elf64_Sym and Elf64_Rela of the System V gABI. The only importer of
pyelftools, which names what is refused; to import it takes a quarter of a second in such a guest.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files.machine import ELF_IDENT, NAMES, Machine, of_elf

MAX_STRING = 4096
"""Longest C string, in bytes, that is taken for one."""

HINT = f"give a .ko, .ko.xz or .ko.zst of a 64-bit {NAMES} kernel, whole and unstripped"
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
SHDR = struct.Struct("<IIQQQQIIQQ")
SYM = struct.Struct("<IBBHQQ")
RELA = struct.Struct("<QIIq")
STT_OBJECT, STT_FUNC = 1, 2
SHT_NULL, SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 0, 2, 4, 8
SHN_LORESERVE, SHN_XINDEX = 0xFF00, 0xFFFF
ET_REL = 1
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4


class Section(NamedTuple):
    """A section's header. ``offset`` and ``size`` are bytes in the file, inside its bounds."""

    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int


class Symbol(NamedTuple):
    """An entry of .symtab. ``value`` counts from the section's start; ``section`` 0: undefined."""

    name: str
    type: int
    section: int
    value: int
    size: int


class Function(NamedTuple):
    """Where a function is: section name, offset in it and size, both in bytes."""

    section: str
    offset: int
    size: int


class Place(NamedTuple):
    """A byte in a section: section index and offset."""

    section: int
    offset: int


class Rela(NamedTuple):
    """A relocation: where (bytes in its section), type, symbol index, addend in bytes."""

    offset: int
    type: int
    symbol: int
    addend: int


class Call(NamedTuple):
    """A call of another file's function: place of its relocation, caller, callee, offset."""

    place: Place
    caller: str | None
    callee: str
    offset: int


def read_header(data: bytes) -> tuple[Machine, list[Section]]:
    """The machine and the sections of a file. May raise anything; the caller converts it."""
    if not data:
        raise BadInputError("is empty")
    if data[:4] != b"\x7fELF":
        raise BadInputError("is not an ELF file")
    if data[: len(ELF_IDENT)] != ELF_IDENT:
        raise BadInputError("is not 64-bit little-endian")
    machine = of_elf(data)
    if machine is None:
        raise BadInputError(f"is for the machine {_named(data, 'e_machine')}, not {NAMES}")
    _, kind, _, _, _, _, start, _, _, _, _, each, count, strtab = EHDR.unpack_from(data)
    if kind != ET_REL:
        what = _named(data, "e_type")
        raise BadInputError(f"is {what}, not a relocatable file (a kernel module)")
    if each != SHDR.size or not start:
        raise ValueError("the section table is not of this file")
    first = SHDR.unpack_from(data, start)
    # The first section has what does not fit into the header's 16 bits.
    count = count or first[5]
    if not 0 < count <= len(data) // SHDR.size:
        raise ValueError("the section table is not of this file")
    table = list(SHDR.iter_unpack(data[start : start + count * SHDR.size]))
    names, length = table[first[6] if strtab == SHN_XINDEX else strtab][4:6]
    strings = data[names : names + length]
    sections = [_section(data, entry, strings) for entry in table]
    if sum(s.size for s in sections if s.type not in (SHT_NULL, SHT_NOBITS)) > 2 * len(data):
        raise ValueError("its sections overlap")  # a small file could fill the memory
    return machine, sections


def _named(data: bytes, field: str) -> str:
    """What pyelftools says of a FIELD of the header. It may raise anything."""
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - slow, and rare

    return str(ELFFile(io.BytesIO(data))[field])


def _section(data: bytes, entry: tuple[int, ...], names: bytes) -> Section:
    at, kind, flags, _address, offset, size, link, info, _align, _each = entry
    name = names[at : names.find(b"\0", at, at + MAX_STRING)].decode("utf-8", "replace")
    if kind not in (SHT_NULL, SHT_NOBITS) and offset + size > len(data):
        raise ValueError(f"section {name} ends after the file's end (truncated?)")
    return Section(name, kind, flags, offset, size, link, info)
