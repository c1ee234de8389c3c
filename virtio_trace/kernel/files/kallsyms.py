# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbol table inside a kernel image: names to addresses and back.

A reading of the tables (kallsyms_tables.py) is accepted if everything in it agrees: every 256th
name with its marker, the addresses in order, and _text, _stext or _start where the code starts.
"""

from __future__ import annotations

import bisect
import struct
from functools import cached_property
from itertools import pairwise

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import kallsyms_tables as tables
from virtio_trace.kernel.files.vmlinux_memory import Image, Segment

_HINT = "needs a kernel with CONFIG_KALLSYMS=y, whole"
_FIRST = (b"_text", b"_stext", b"_start")
"""What kernels call the start of their code (arch/*/kernel/vmlinux.lds.S; riscv: _start)."""


class Kallsyms:
    """The symbols of one image: functions, and data where it was built with KALLSYMS_ALL."""

    def __init__(self, image: Image) -> None:
        """Raises BadInputError where the image has no such table, or an unknown form of it."""
        self._image = image
        try:
            self._read(image)
        except (struct.error, ValueError, LookupError, OverflowError) as error:
            raise BadInputError(f"{image.where}: damaged kallsyms: {error}", _HINT) from error

    def _read(self, image: Image) -> None:
        data = image.data
        for tokens, index, tokens_at in tables.token_tables(data):
            end = index + 2 * 256
            for markers_at, markers in tables.markers_before(data, tokens_at):
                found = tables.names_before(data, markers_at, markers)
                if found is None:
                    continue
                names_at, names = found
                addresses = self._addresses(names_at, end, names, tokens)
                if addresses is not None:
                    self.addresses, self._names, self._tokens = addresses, names, tokens
                    return
        raise BadInputError(f"{image.where}: has no symbol table (kallsyms)", _HINT)

    def __len__(self) -> int:
        return len(self.addresses)

    @cached_property
    def symbols(self) -> list[tuple[int, str, str]]:
        """(address, type as ``nm`` prints it, name), sorted by address."""
        expand = self._tokens.__getitem__
        texts = (b"".join(map(expand, name)).decode("utf-8", "replace") for name in self._names)
        return [(at, text[:1], text[1:]) for at, text in zip(self.addresses, texts, strict=True)]

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        """Name to addresses; a static name may have several."""
        out: dict[str, list[int]] = {}
        for address, _kind, name in self.symbols:
            out.setdefault(name, []).append(address)
        return out

    @cached_property
    def functions(self) -> dict[int, str]:
        """Address to name of the symbols in code; of several names the first plain one.

        By the section, not by the type: in 7.2, symbols of .data have the type of code.
        """
        out: dict[int, str] = {}
        for part in self._image.text:
            first = bisect.bisect_left(self.addresses, part.address)
            last = bisect.bisect_left(self.addresses, part.address + part.size)
            for address, kind, name in self.symbols[first:last]:
                if kind in "tTwW" and not name.startswith((".", "__pfx_", "__cfi_")):
                    out.setdefault(address, name)
        return out

    @cached_property
    def _function_starts(self) -> list[int]:
        return sorted(self.functions)

    def function_around(self, address: int) -> tuple[str | None, int]:
        """The function around ADDRESS, and the bytes from its start; (None, 0) outside of code."""
        starts = self._function_starts
        i = bisect.bisect_right(starts, address) - 1
        if i < 0 or not self._image.is_code(address):
            return None, 0
        return self.functions[starts[i]], address - starts[i]

    def object_at(self, address: int) -> str | None:
        """The data symbol at ADDRESS; None also where the kernel has no KALLSYMS_ALL."""
        if self._image.is_code(address):
            return None
        first = bisect.bisect_left(self.addresses, address)
        last = bisect.bisect_right(self.addresses, address)
        names = [name for _at, _kind, name in self.symbols[first:last]]
        return next((name for name in names if not name.startswith("__")), None)

    def _addresses(
        self, names_at: int, end: int, names: list[bytes], tokens: list[bytes]
    ) -> list[int] | None:
        """The first reading of the offsets that is right, after the tokens or before the names."""
        count = len(names)
        after = tables.aligned(end, 4)
        size = tables.aligned(4 * count, 8)
        for start in dict.fromkeys((after, tables.aligned(end, 8), names_at - 16 - size)):
            if start < 0 or start + size + 8 > len(self._image.data):
                continue
            place = self._image.address_of(start)
            if place is None:
                continue
            raw = self._image.data[start : start + 4 * count]
            rest = tables.aligned(start + 4 * count, 8)
            (base,) = struct.unpack_from("<Q", self._image.data, rest)
            for read in (tables.from_place, tables.per_cpu, tables.from_base):
                addresses = read(raw, base, place)
                if self._is_right(addresses, names, tokens):
                    return addresses
        return None

    def _is_right(self, addresses: list[int], names: list[bytes], tokens: list[bytes]) -> bool:
        """In order, and with one of _FIRST where the code starts."""
        if not self._image.text or any(a > b for a, b in pairwise(addresses)):
            return False
        first = self._image.text[0].address
        i = bisect.bisect_left(addresses, first)
        while i < len(addresses) and addresses[i] == first:
            if b"".join(tokens[c] for c in names[i])[1:] in _FIRST:
                return True
            i += 1
        return False


class _Flat(Image):
    """A flat image: memory from its first byte on (Documentation/arch/arm64/booting.rst).

    Addresses are distances from there: the kernel gets its own when it boots.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.segments = self.text = [Segment(0, 0, len(data), len(data))]
        self._starts = [0]


def image(kernel: bytes, where: str) -> Image:
    """The unpacked KERNEL (vmlinuz.payload) as memory, by the addresses of its symbols.

    Addresses are those that the kernel was linked for; of a flat image, distances from its start.
    Raises BadInputError where it is damaged.
    """
    return Image(kernel, where) if kernel[:4] == b"\x7fELF" else _Flat(kernel, where)


def read(kernel: bytes, where: str) -> Kallsyms:
    """The symbols of the unpacked KERNEL. Raises BadInputError where they cannot be read."""
    return Kallsyms(image(kernel, where))
