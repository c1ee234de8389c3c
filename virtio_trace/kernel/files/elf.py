# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel module: its functions and data by name and by place, its calls, .modinfo, build id."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from functools import cached_property

from virtio_trace.kernel.files.elf_file import ElfFile, guarded
from virtio_trace.kernel.files.elf_tables import (
    SHF_EXECINSTR,
    SHN_LORESERVE,
    STT_FUNC,
    STT_OBJECT,
    Call,
    Function,
    Place,
)


class Module(ElfFile):
    """One .ko file, uncompressed, in memory. ``where`` is its name in messages."""

    @cached_property
    @guarded
    def functions(self) -> dict[str, list[Function]]:
        """Functions by name; static functions may share one. Without gcc's .cold parts."""
        out: dict[str, list[Function]] = {}
        for name, kind, index, value, size in self.symbols:
            if kind == STT_FUNC and 0 < index < SHN_LORESERVE and ".cold" not in name:
                out.setdefault(name, []).append(Function(self.sections[index].name, value, size))
        return out

    @cached_property
    @guarded
    def _at(self) -> dict[tuple[int, Place], str]:
        """(symbol type, place) to name; prefers an init function to its alias init_module."""
        out: dict[tuple[int, Place], str] = {}
        for name, kind, index, value, _size in self.symbols:
            if kind in (STT_FUNC, STT_OBJECT) and 0 < index < SHN_LORESERVE:
                key = (kind, Place(index, value))
                if out.get(key) in (None, "init_module", "cleanup_module"):
                    out[key] = name
        return out

    def function_at(self, place: Place) -> str | None:
        """The function that starts at PLACE, or None."""
        return self._at.get((STT_FUNC, place))

    def object_at(self, place: Place) -> str | None:
        """The data symbol that starts at PLACE, or None."""
        return self._at.get((STT_OBJECT, place))

    @cached_property
    @guarded
    def _ranges(self) -> dict[int, list[tuple[int, int]]]:
        """Section index to (start, end) of its functions, sorted by start."""
        out: dict[int, set[tuple[int, int]]] = {}
        for _name, kind, index, value, size in self.symbols:
            if kind == STT_FUNC and 0 < index < SHN_LORESERVE:
                out.setdefault(index, set()).add((value, value + size))
        return {index: sorted(spans) for index, spans in out.items()}

    @guarded
    def function_around(self, place: Place) -> tuple[str | None, int]:
        """The function around PLACE, and the bytes from its start; (None, 0): none."""
        spans = self._ranges.get(place.section, [])
        i = bisect.bisect_right(spans, (place.offset, 1 << 64)) - 1
        if i < 0 or place.offset >= spans[i][1]:
            return None, 0
        start = spans[i][0]
        return self.function_at(Place(place.section, start)), place.offset - start

    @cached_property
    @guarded
    def init(self) -> str | None:
        """The module's init function by its own name, not its alias init_module; None: none."""
        for name, _kind, index, value, _size in self.symbols:
            if name == "init_module" and index:
                return self.function_at(Place(index, value))
        return None

    @guarded
    def objects(self, size: int) -> list[Place]:
        """Places of the data symbols of SIZE bytes, each once, in the file's order."""
        found = (
            Place(s.section, s.value)
            for s in self.symbols
            if s.type == STT_OBJECT and s.size == size and 0 < s.section < SHN_LORESERVE
        )
        return list(dict.fromkeys(found))

    @guarded
    def size_at(self, place: Place) -> int | None:
        """Bytes of the data symbol that starts at PLACE, or None."""
        section, value = place
        found = (s.size for s in self.symbols if s[1:4] == (STT_OBJECT, section, value))
        return next(found, None)

    @cached_property
    @guarded
    def undefined(self) -> frozenset[str]:
        """The names that the module imports."""
        return frozenset(s.name for s in self.symbols[1:] if s.section == 0 and s.name)

    @guarded
    def calls(self, names: frozenset[str]) -> list[Call]:
        """Direct calls of other files' functions of these NAMES, in the file's order.

        ``offset`` is that of the call instruction in its function, in bytes. Calls through
        pointers have no relocation. Raises BadInputError.
        """
        wanted = {
            i: s.name for i, s in enumerate(self.symbols) if s.name in names and not s.section
        }
        kinds, opcode = self.machine.calls, self.machine.call_opcode
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
