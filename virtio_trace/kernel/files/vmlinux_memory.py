# SPDX-License-Identifier: GPL-2.0-or-later
"""An uncompressed x86-64 kernel as memory: the bytes at an address, and who calls what.

The vmlinux in a bzImage has its segments and sections, but neither symbols nor relocations
(arch/x86/boot/compressed/Makefile, objcopy -S). Its pointers hold the addresses that it was linked
for, because its relocations are a separate table after it: they can be followed as they are.
Layouts: Elf64_Ehdr, Elf64_Phdr and Elf64_Shdr of the System V ABI.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable
from typing import NamedTuple

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files.machine import of_elf
from virtio_trace.kernel.files.memory import Memory

_HINT = "give the vmlinuz of an x86-64 kernel"
_PT_LOAD, _SHT_PROGBITS = 1, 1
_WRITE, _EXECINSTR = 1, 4
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_CALLS = (0xE8, 0xE9)  # call rel32, and jmp rel32 for a call at a function's end
_BLOCK = 1 << 16


class Segment(NamedTuple):
    """Where a part of the file is in memory: ``size`` bytes, then zeros up to ``memory`` bytes."""

    address: int
    offset: int
    size: int
    memory: int


class Site(NamedTuple):
    """A call: the address of its instruction, and what it calls."""

    address: int
    target: int


class Image(Memory):
    """A kernel image's memory. Addresses are those that the kernel was linked for."""

    def __init__(self, data: bytes, where: str) -> None:
        """Raises BadInputError where DATA is not an x86-64 vmlinux."""
        self.data = data
        self.where = where
        machine = of_elf(data)
        if machine is None or not machine.image_pointers_final:
            raise BadInputError(f"{where}: is not an x86-64 vmlinux", _HINT)
        try:
            self.segments = self._segments()
            self.text = self._text()
        except (struct.error, ValueError, OverflowError) as error:
            raise BadInputError(f"{where}: damaged ELF file: {error}", _HINT) from error
        self._starts = [segment.address for segment in self.segments]

    def _segments(self) -> list[Segment]:
        (table,) = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        out = []
        for at in range(table, table + size * count, max(size, _PHDR.size)):
            kind, _flags, offset, address, _physical, length, memory, _align = _PHDR.unpack_from(
                self.data, at
            )
            if kind == _PT_LOAD:
                if offset + length > len(self.data):
                    raise ValueError("a segment ends after the file's end (truncated?)")
                out.append(Segment(address, offset, length, max(memory, length)))
        return sorted(out)

    def _text(self) -> list[Segment]:
        """The sections of code, without .data, which is executable too in 7.2."""
        (table,) = struct.unpack_from("<Q", self.data, 40)
        size, count = struct.unpack_from("<HH", self.data, 58)
        out = []
        for at in range(table, table + size * count, max(size, _SHDR.size)):
            _name, kind, flags, address, offset, length = _SHDR.unpack_from(self.data, at)[:6]
            code = flags & _EXECINSTR and not flags & _WRITE
            if kind == _SHT_PROGBITS and code and offset + length <= len(self.data):
                out.append(Segment(address, offset, length, length))
        return sorted(out)

    def address_of(self, offset: int) -> int | None:
        """The address of the byte at OFFSET in the file; None: it is not in memory."""
        for segment in self.segments:
            if segment.offset <= offset < segment.offset + segment.size:
                return segment.address + offset - segment.offset
        return None

    def bytes_at(self, address: int, size: int) -> bytes | None:
        """SIZE bytes from ADDRESS, zeros in .bss; None: not in the kernel's memory."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0:
            return None
        segment = self.segments[i]
        inside = address - segment.address
        if inside + size > segment.memory:
            return None
        start = segment.offset + inside
        found = self.data[start : min(start + size, segment.offset + segment.size)]
        return found + bytes(size - len(found))

    def is_code(self, address: int) -> bool:
        """Whether ADDRESS is in a section of code."""
        return any(part.address <= address < part.address + part.size for part in self.text)

    def calls(self, targets: Iterable[int]) -> list[Site]:
        """Every direct call of one of TARGETS, sorted by address.

        By opcode and distance. Once in 2**32 they are, by chance, in the middle of another
        instruction: callers ask which function a site is in.
        """
        out = [
            site
            for target in sorted(set(targets))
            for part in self.text
            for site in self._calls_in(part, target)
        ]
        return sorted(out)

    def _calls_in(self, part: Segment, target: int) -> list[Site]:
        """The upper half of the distance is the same for 64 KB of code: it is searched first."""
        out = []
        data, start, end = self.data, part.offset, part.offset + part.size
        # distance = target - (address + 5), with address = part.address + (at - start)
        base = target - part.address - 5 + start
        at = start
        while at < end:
            high = (base - at) >> 16
            last = min(base - (high << 16), end - 5)  # with the same upper half up to here
            if -0x8000 <= high < 0x8000:
                wanted = struct.pack("<h", high)
                found = data.find(wanted, at + 3, last + 5)
                while found >= 0:
                    here = found - 3
                    low = data[here + 1] | data[here + 2] << 8
                    if data[here] in _CALLS and low == (base - here) & 0xFFFF:
                        out.append(Site(part.address + here - start, target))
                    found = data.find(wanted, found + 1, last + 5)
            at = max(last, at) + 1
        return out
