# SPDX-License-Identifier: GPL-2.0-or-later
"""A relocatable ELF file in memory: sections, symbols, relocations, and the bytes at a place."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec, TypeVar

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files.elf_tables import (
    HINT,
    MAX_STRING,
    RELA,
    SHN_LORESERVE,
    SHT_NOBITS,
    SHT_RELA,
    SHT_SYMTAB,
    SYM,
    Place,
    Rela,
    Section,
    Symbol,
    read_header,
)

MAX_NAME = 512
"""Longest symbol, in bytes (KSYM_NAME_LEN, include/linux/kallsyms.h)."""
MAX_ENTRIES = 1 << 20
"""Most symbols or relocations in one table (amdgpu.ko has some 100,000)."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_File = TypeVar("_File", bound="ElfFile")


def guarded(method: Callable[Concatenate[_File, _P], _T]) -> Callable[Concatenate[_File, _P], _T]:
    """The boundary: whatever reading a damaged file raises becomes BadInputError."""

    @wraps(method)
    def inner(self: _File, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(self, *args, **kwargs)
        except BadInputError:
            raise
        except (struct.error, ValueError, LookupError, OverflowError) as error:
            raise BadInputError(
                f"{self.where}: truncated or damaged ELF file: {error}", HINT
            ) from error

    return inner


class ElfFile:
    """One file, uncompressed, in memory. ``where`` is its name in messages."""

    def __init__(self, data: bytes, where: str) -> None:
        """Raises BadInputError where DATA is not a relocatable ELF file of a known machine."""
        self.data = data
        self.where = where
        self._relocations: dict[int, list[Rela]] = {}
        self._pointers: dict[int, dict[int, Place]] = {}
        try:
            self.machine, self.sections = read_header(data)
        except BadInputError as error:
            raise BadInputError(f"{where}: {error}", HINT) from error
        except Exception as error:  # struct's, ours, or anything of pyelftools
            what = str(error) or type(error).__name__
            raise BadInputError(f"{where}: truncated or damaged ELF file: {what}", HINT) from error

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    def contents(self, section: Section) -> bytes:
        """A section's bytes; empty for .bss and the like."""
        if section.type == SHT_NOBITS:
            return b""
        return self.data[section.offset : section.offset + section.size]

    def _whole(self, raw: bytes, entry: struct.Struct) -> bytes:
        """The entries of a table, without an incomplete one at its end."""
        if len(raw) // entry.size > MAX_ENTRIES:
            raise BadInputError(f"{self.where}: a table of over {MAX_ENTRIES} entries", HINT)
        return raw[: len(raw) - len(raw) % entry.size]

    @cached_property
    @guarded
    def symbols(self) -> list[Symbol]:
        """.symtab in its order, so that relocations can index it. Raises BadInputError."""
        table = next((s for s in self.sections if s.type == SHT_SYMTAB), None)
        if table is None:
            raise BadInputError(f"{self.where}: has no symbol table (.symtab)", HINT)
        names = self.contents(self.sections[table.link])
        raw = self.contents(table)
        find, known = names.find, len(self.sections)
        out = []
        for name, info, _other, index, value, size in SYM.iter_unpack(self._whole(raw, SYM)):
            if SHN_LORESERVE > index >= known:
                raise BadInputError(f"{self.where}: a symbol of section {index} of {known}", HINT)
            text = names[name : find(b"\0", name, name + MAX_NAME)] if name else b""
            out.append(Symbol(text.decode("utf-8", "replace"), info & 15, index, value, size))
        return out

    @cached_property
    def _rela_tables(self) -> dict[int, list[Section]]:
        out: dict[int, list[Section]] = {}
        for section in self.sections:
            if section.type == SHT_RELA:
                out.setdefault(section.info, []).append(section)
        return out

    @guarded
    def relocations(self, section: int) -> list[Rela]:
        """The relocations of one section (by index), sorted by offset. Raises BadInputError."""
        if section not in self._relocations:
            out: list[Rela] = []
            for table in self._rela_tables.get(section, []):
                raw = self.contents(table)
                unpacked = RELA.iter_unpack(self._whole(raw, RELA))
                out += [Rela(at, kind, sym, add) for at, kind, sym, add in unpacked]
            out.sort()
            self._relocations[section] = out
        return self._relocations[section]

    @guarded
    def target(self, rela: Rela, extra: int = 0) -> Place | None:
        """What a relocation points to; None: outside of the file."""
        symbol = self.symbols[rela.symbol]
        if not 0 < symbol.section < SHN_LORESERVE:
            return None
        return Place(symbol.section, symbol.value + rela.addend + extra)

    @guarded
    def pointers(self, section: int) -> dict[int, Place]:
        """The 64-bit pointers in a section that point into the file: offset to target."""
        if section not in self._pointers:
            kind = self.machine.pointer
            self._pointers[section] = {
                r.offset: place
                for r in self.relocations(section)
                if r.type == kind and (place := self.target(r)) is not None
            }
        return self._pointers[section]

    @guarded
    def bytes_at(self, place: Place, size: int) -> bytes | None:
        """SIZE bytes from PLACE, zeros in .bss; None: the section ends before."""
        section = self.sections[place.section]
        if not 0 <= place.offset <= section.size - size:
            return None
        if section.type == SHT_NOBITS:
            return bytes(size)
        start = section.offset + place.offset
        return self.data[start : start + size]

    @guarded
    def string_at(self, place: Place) -> str | None:
        """The C string at PLACE; None: not printable, or MAX_STRING bytes and longer."""
        section = self.sections[place.section]
        if section.type == SHT_NOBITS or not 0 <= place.offset < section.size:
            return None
        start = section.offset + place.offset
        stop = min(start + MAX_STRING, section.offset + section.size)
        end = self.data.find(b"\0", start, stop)
        raw = self.data[start:end] if end >= 0 else b"\0"
        return raw.decode("ascii") if raw.isascii() and raw.decode("ascii").isprintable() else None
