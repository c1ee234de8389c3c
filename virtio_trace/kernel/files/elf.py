# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel module as an ELF file: symbols, functions, relocations, strings, .modinfo, build id.

The only importer of pyelftools, which reads the header and says where the tables are. The tables
themselves (sections, .symtab, .rela.*) are unpacked with ``struct``: an object an entry costs
seconds in an emulated guest. Layouts are those of the System V ABI's gABI (Elf64_Shdr, Elf64_Sym,
Elf64_Rela) and of the x86-64 and AArch64 ELF supplements.
"""

from __future__ import annotations

import bisect
import io
import struct
from collections.abc import Callable, Iterator
from functools import cached_property, wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from virtio_trace.errors import BadInputError

MAX_STRING = 4096
"""Longest C string, in bytes, that is believed."""
MAX_NAME = 512
"""Longest symbol, in bytes (KSYM_NAME_LEN, include/linux/kallsyms.h)."""
MAX_ENTRIES = 1 << 20
"""Most symbols or relocations in one table (amdgpu.ko has some 100,000)."""

_HINT = "give a .ko, .ko.xz or .ko.zst of a 64-bit x86-64 or arm64 kernel, whole and unstripped"
_MACHINES = {62: "x86_64", 183: "aarch64"}  # EM_X86_64, EM_AARCH64
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QIIq")
_STT_OBJECT, _STT_FUNC = 1, 2
_SHT_NULL, _SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS = 0, 2, 4, 8
_SHN_LORESERVE = 0xFF00
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4

R_ABS64 = {"x86_64": 1, "aarch64": 257}
"""A 64-bit pointer: R_X86_64_64, R_AARCH64_ABS64."""
R_CALL = {"x86_64": (2, 4), "aarch64": (282, 283)}
"""A call or tail call: R_X86_64_PC32/PLT32, R_AARCH64_JUMP26/CALL26."""
R_ADDRESS = {"x86_64": {11: 0, 10: 0, 1: 0, 2: 4, 4: 4}, "aarch64": {277: 0}}
"""Taking an address, with what is added to the addend: R_X86_64_32S/32/64 (mov), PC32 (lea, which
counts from the instruction's end); R_AARCH64_ADD_ABS_LO12_NC (the second half of adrp + add)."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


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
    """A line of .symtab; ``value`` counts from its section's start; ``section`` 0 is undefined."""

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
    """A byte in the file's sections: section index and offset."""

    section: int
    offset: int


class Rela(NamedTuple):
    """A relocation: where (bytes in its section), type, symbol index, addend in bytes."""

    offset: int
    type: int
    symbol: int
    addend: int


class Call(NamedTuple):
    """A call out of the file: the place of its relocation, the function around it, its callee."""

    place: Place
    caller: str | None
    callee: str
    offset: int


def _guarded(
    method: Callable[Concatenate[Module, _P], _T],
) -> Callable[Concatenate[Module, _P], _T]:
    """The boundary: whatever a damaged file raises in here leaves as BadInputError."""

    @wraps(method)
    def inner(self: Module, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(self, *args, **kwargs)
        except BadInputError:
            raise
        except (struct.error, ValueError, LookupError, OverflowError) as error:
            raise BadInputError(
                f"{self.where}: truncated or damaged ELF file: {error}", _HINT
            ) from error

    return inner


class Module:
    """One .ko file, uncompressed, in memory. ``where`` is its name in messages."""

    def __init__(self, data: bytes, where: str) -> None:
        """Raises BadInputError where DATA is no relocatable 64-bit ELF of a known machine."""
        self.data = data
        self.where = where
        try:
            self.machine, self.sections = _open(data)
        except BadInputError as error:
            raise BadInputError(f"{where}: {error}", _HINT) from error
        except Exception as error:  # construct and pyelftools raise whatever comes to them
            what = str(error) or type(error).__name__
            raise BadInputError(f"{where}: truncated or damaged ELF file: {what}", _HINT) from error

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    def contents(self, section: Section) -> bytes:
        """A section's bytes; empty for .bss and the like."""
        if section.type == _SHT_NOBITS:
            return b""
        return self.data[section.offset : section.offset + section.size]

    def _whole(self, raw: bytes, entry: struct.Struct) -> bytes:
        """The whole entries of a table, without a part of one at its end."""
        if len(raw) // entry.size > MAX_ENTRIES:
            raise BadInputError(f"{self.where}: a table of over {MAX_ENTRIES} entries", _HINT)
        return raw[: len(raw) - len(raw) % entry.size]

    @cached_property
    @_guarded
    def symbols(self) -> list[Symbol]:
        """.symtab in its order, so that relocations can index it. Raises BadInputError."""
        table = next((s for s in self.sections if s.type == _SHT_SYMTAB), None)
        if table is None:
            raise BadInputError(f"{self.where}: has no symbol table (.symtab)", _HINT)
        names = self.contents(self.sections[table.link])
        raw = self.contents(table)
        find, known = names.find, len(self.sections)
        out = []
        for name, info, _other, index, value, size in _SYM.iter_unpack(self._whole(raw, _SYM)):
            if _SHN_LORESERVE > index >= known:
                raise BadInputError(f"{self.where}: a symbol of section {index} of {known}", _HINT)
            text = names[name : find(b"\0", name, name + MAX_NAME)] if name else b""
            out.append(Symbol(text.decode("utf-8", "replace"), info & 15, index, value, size))
        return out

    @cached_property
    @_guarded
    def functions(self) -> dict[str, list[Function]]:
        """Functions by name; a name with two entries exists twice. Without gcc's cold halves."""
        out: dict[str, list[Function]] = {}
        for name, kind, index, value, size in self.symbols:
            if kind == _STT_FUNC and 0 < index < _SHN_LORESERVE and ".cold" not in name:
                out.setdefault(name, []).append(Function(self.sections[index].name, value, size))
        return out

    @cached_property
    @_guarded
    def _at(self) -> dict[tuple[int, Place], str]:
        """(symbol type, place) to name; an init function rather than its alias init_module."""
        out: dict[tuple[int, Place], str] = {}
        for name, kind, index, value, _size in self.symbols:
            if kind in (_STT_FUNC, _STT_OBJECT) and 0 < index < _SHN_LORESERVE:
                key = (kind, Place(index, value))
                if out.get(key) in (None, "init_module", "cleanup_module"):
                    out[key] = name
        return out

    def function_at(self, place: Place) -> str | None:
        """The function that starts at PLACE, or None."""
        return self._at.get((_STT_FUNC, place))

    def object_at(self, place: Place) -> str | None:
        """The data symbol that starts at PLACE, or None."""
        return self._at.get((_STT_OBJECT, place))

    @cached_property
    @_guarded
    def _ranges(self) -> dict[int, list[tuple[int, int]]]:
        """Section index to (start, end) of its functions, sorted by start."""
        out: dict[int, set[tuple[int, int]]] = {}
        for _name, kind, index, value, size in self.symbols:
            if kind == _STT_FUNC and 0 < index < _SHN_LORESERVE:
                out.setdefault(index, set()).add((value, value + size))
        return {index: sorted(spans) for index, spans in out.items()}

    @_guarded
    def function_around(self, place: Place) -> tuple[str | None, int]:
        """The function that PLACE is inside of, and how many bytes; (None, 0) outside of any."""
        spans = self._ranges.get(place.section, [])
        i = bisect.bisect_right(spans, (place.offset, 1 << 64)) - 1
        if i < 0 or place.offset >= spans[i][1]:
            return None, 0
        start = spans[i][0]
        return self.function_at(Place(place.section, start)), place.offset - start

    @cached_property
    @_guarded
    def init(self) -> str | None:
        """The module's init function by its own name (it is aliased init_module); None: none."""
        for name, _kind, index, value, _size in self.symbols:
            if name == "init_module" and index:
                return self.function_at(Place(index, value))
        return None

    @cached_property
    def _rela_tables(self) -> dict[int, list[Section]]:
        out: dict[int, list[Section]] = {}
        for section in self.sections:
            if section.type == _SHT_RELA:
                out.setdefault(section.info, []).append(section)
        return out

    @_guarded
    def relocations(self, section: int) -> list[Rela]:
        """The relocations of one section (by index), sorted by offset. Raises BadInputError."""
        cache = self.__dict__.setdefault("_relocations", {})
        if section not in cache:
            out: list[Rela] = []
            for table in self._rela_tables.get(section, []):
                raw = self.contents(table)
                unpacked = _RELA.iter_unpack(self._whole(raw, _RELA))
                out += [Rela(at, kind, sym, add) for at, kind, sym, add in unpacked]
            out.sort()
            cache[section] = out
        found: list[Rela] = cache[section]
        return found

    @_guarded
    def target(self, rela: Rela, extra: int = 0) -> Place | None:
        """What a relocation points to; None where that is outside of the file."""
        symbol = self.symbols[rela.symbol]
        if not 0 < symbol.section < _SHN_LORESERVE:
            return None
        return Place(symbol.section, symbol.value + rela.addend + extra)

    @_guarded
    def pointers(self, section: int) -> dict[int, Place]:
        """Offset to target of every 64-bit pointer that a section holds to inside of the file."""
        cache = self.__dict__.setdefault("_pointers", {})
        if section not in cache:
            kind = R_ABS64[self.machine]
            cache[section] = {
                r.offset: place
                for r in self.relocations(section)
                if r.type == kind and (place := self.target(r)) is not None
            }
        found: dict[int, Place] = cache[section]
        return found

    @_guarded
    def bytes_at(self, place: Place, size: int) -> bytes | None:
        """SIZE bytes from PLACE, zeros in .bss; None where the section ends before."""
        section = self.sections[place.section]
        if not 0 <= place.offset <= section.size - size:
            return None
        if section.type == _SHT_NOBITS:
            return bytes(size)
        start = section.offset + place.offset
        return self.data[start : start + size]

    @_guarded
    def string_at(self, place: Place) -> str | None:
        """The C string at PLACE; None where there is none of under MAX_STRING printable bytes."""
        section = self.sections[place.section]
        if section.type == _SHT_NOBITS or not 0 <= place.offset < section.size:
            return None
        start = section.offset + place.offset
        stop = min(start + MAX_STRING, section.offset + section.size)
        end = self.data.find(b"\0", start, stop)
        raw = self.data[start:end] if end >= 0 else b"\0"
        return raw.decode("ascii") if raw.isascii() and raw.decode("ascii").isprintable() else None

    @_guarded
    def objects(self, size: int) -> list[Place]:
        """Places of the data symbols of that many bytes, each once, in the file's order."""
        found = (
            Place(s.section, s.value)
            for s in self.symbols
            if s.type == _STT_OBJECT and s.size == size and 0 < s.section < _SHN_LORESERVE
        )
        return list(dict.fromkeys(found))

    @_guarded
    def size_at(self, place: Place) -> int | None:
        """Bytes of the data symbol that starts at PLACE, or None."""
        section, value = place
        found = (s.size for s in self.symbols if s[1:4] == (_STT_OBJECT, section, value))
        return next(found, None)

    @cached_property
    @_guarded
    def undefined(self) -> frozenset[str]:
        """The names that the module needs from others."""
        return frozenset(s.name for s in self.symbols[1:] if s.section == 0 and s.name)

    @_guarded
    def calls(self, names: frozenset[str]) -> list[Call]:
        """Direct calls of other files' functions of these NAMES, in the file's order.

        ``offset`` is that of the call instruction in its function, in bytes. Calls through
        pointers are not in any relocation. Raises BadInputError.
        """
        wanted = {
            i: s.name for i, s in enumerate(self.symbols) if s.name in names and not s.section
        }
        kinds = R_CALL[self.machine]
        opcode = 1 if self.machine == "x86_64" else 0  # the relocation is behind e8/e9
        out = []
        for index, section in enumerate(self.sections):
            if not wanted or not section.flags & SHF_EXECINSTR:
                continue
            for rela in self.relocations(index):
                if rela.symbol in wanted and rela.type in kinds:
                    place = Place(index, rela.offset)
                    caller, inside = self.function_around(place)
                    out.append(Call(place, caller, wanted[rela.symbol], max(0, inside - opcode)))
        return out

    def modinfo(self) -> Iterator[tuple[str, str]]:
        """.modinfo as (key, value) in its order (include/linux/moduleparam.h, MODULE_INFO)."""
        section = self.section(".modinfo")
        for line in self.contents(section).split(b"\0") if section else ():
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals:
                yield key, value

    @property
    def build_id(self) -> str | None:
        """The GNU build id in hexadecimal, or None (Elf64_Nhdr: namesz, descsz, type)."""
        section = self.section(".note.gnu.build-id")
        raw = self.contents(section) if section else b""
        if len(raw) < 16:
            return None
        name, size, kind = struct.unpack_from("<III", raw)
        if (name, kind) != (4, 3) or raw[12:16] != b"GNU\0" or not 0 < size <= len(raw) - 16:
            return None
        return raw[16 : 16 + size].hex()


def _open(data: bytes) -> tuple[str, list[Section]]:
    """Machine and sections by pyelftools. May raise anything; the caller is the boundary."""
    if not data:
        raise BadInputError("is empty")
    if data[:4] != b"\x7fELF":
        raise BadInputError("is no ELF file")
    if data[4:6] != b"\x02\x01":
        raise BadInputError("is not 64-bit little-endian")
    elf = ELFFile(io.BytesIO(data))
    machine = _MACHINES.get(int.from_bytes(data[18:20], "little"))
    if machine is None:
        raise BadInputError(f"is for the machine {elf['e_machine']}, not x86-64 or arm64")
    if elf["e_type"] != "ET_REL":
        raise BadInputError(f"is {elf['e_type']}, not a relocatable file (a kernel module)")
    if elf["e_shentsize"] != _SHDR.size or not 0 < elf.num_sections() <= len(data) // _SHDR.size:
        raise ELFError("the section table is not of this file")
    start, size = elf["e_shoff"], elf.num_sections() * _SHDR.size
    table = list(_SHDR.iter_unpack(data[start : start + size]))
    names, length = table[elf.get_shstrndx()][4:6]
    strings = data[names : names + length]
    sections = [_section(data, entry, strings) for entry in table]
    if sum(s.size for s in sections if s.type not in (_SHT_NULL, _SHT_NOBITS)) > 2 * len(data):
        raise ELFError("its sections overlap")  # a small file that would fill the memory
    return machine, sections


def _section(data: bytes, entry: tuple[int, ...], names: bytes) -> Section:
    at, kind, flags, _address, offset, size, link, info, _align, _each = entry
    name = names[at : names.find(b"\0", at, at + MAX_STRING)].decode("utf-8", "replace")
    if kind not in (_SHT_NULL, _SHT_NOBITS) and offset + size > len(data):
        raise ELFError(f"section {name} ends behind the file's end (truncated?)")
    return Section(name, kind, flags, offset, size, link, info)
