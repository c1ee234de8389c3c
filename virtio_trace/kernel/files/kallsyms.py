# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbol table that a kernel image carries for itself, out of the image.

What scripts/kallsyms.c writes into .rodata: names, each a list of tokens; ``markers``, where every
256th name begins; the tokens' table and its index; the symbols' offsets. Found by what they are,
as their order and meaning changed: the offsets stood before the names and are behind the tokens
since 6.4 (commit 404bad70fcf7); names of over 127 tokens came with 6.1 (commit 73bbb94466fd); an
offset has counted from a base, has been a per-CPU symbol's address where it is not negative (until
6.15, commit 01157ddc58dc), and counts from its own place since 7.0 (commit a081b5789255). All that
is found is held to everything else: every 256th name to its marker, the addresses to be in order
and to begin where the kernel's code does.
"""

from __future__ import annotations

import bisect
import re
import struct
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, pairwise

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files.vmlinux_memory import Image, Segment

_HINT = "needs a kernel with CONFIG_KALLSYMS=y, whole"
_DIGITS = re.compile(b"".join(b"%d\\x00" % digit for digit in range(10)))
_NAMES = 256
"""Names from one marker to the next (scripts/kallsyms.c, write_src)."""
_LONGEST = 512
"""KSYM_NAME_LEN: no name has more tokens."""


class Kallsyms:
    """The symbols of one image: functions, and data where it was built with KALLSYMS_ALL."""

    def __init__(self, image: Image) -> None:
        """Raises BadInputError where the image has no such table, or it cannot be understood."""
        self._image = image
        try:
            self._read(image)
        except (struct.error, ValueError, LookupError, OverflowError) as error:
            raise BadInputError(f"{image.where}: damaged kallsyms: {error}", _HINT) from error

    def _read(self, image: Image) -> None:
        data = image.data
        for tokens, index, tokens_at in _token_tables(data):
            end = index + 2 * 256
            for markers_at, markers in _markers(data, tokens_at):
                found = _names(data, markers_at, markers)
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
        """(address, type as ``nm`` has it, name), in order of addresses."""
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
        """Address to name of what is in code; of several names the first that is a plain one.

        Where a symbol is counts, not its type: in 7.2 those of .data have the type of code.
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
        """The function that ADDRESS is in, and how many bytes; (None, 0) before the first."""
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
        """The first reading of the offsets that makes sense, with the offsets behind the tokens
        or before the names."""
        count = len(names)
        behind = _aligned(end, 4)
        size = _aligned(4 * count, 8)
        for start in dict.fromkeys((behind, _aligned(end, 8), names_at - 16 - size)):
            if start < 0 or start + size + 8 > len(self._image.data):
                continue
            place = self._image.address_of(start)
            if place is None:
                continue
            raw = self._image.data[start : start + 4 * count]
            rest = _aligned(start + 4 * count, 8)
            (base,) = struct.unpack_from("<Q", self._image.data, rest)
            for read in (_from_place, _per_cpu, _from_base):
                addresses = read(raw, base, place)
                if self._is_right(addresses, names, tokens):
                    return addresses
        return None

    def _is_right(self, addresses: list[int], names: list[bytes], tokens: list[bytes]) -> bool:
        """In order, and with _text or _stext where the code begins."""
        if not self._image.text or any(a > b for a, b in pairwise(addresses)):
            return False
        first = self._image.text[0].address
        i = bisect.bisect_left(addresses, first)
        while i < len(addresses) and addresses[i] == first:
            if b"".join(tokens[c] for c in names[i])[1:] in (b"_text", b"_stext"):
                return True
            i += 1
        return False


def _aligned(number: int, size: int) -> int:
    return -(-number // size) * size


def _signed(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(raw) // 4}i", raw)


def _from_place(raw: bytes, _base: int, place: int) -> list[int]:
    """Each offset counts from where it stands (since 7.0)."""
    return [place + 4 * i + offset for i, offset in enumerate(_signed(raw))]


def _per_cpu(raw: bytes, base: int, _place: int) -> list[int]:
    """CONFIG_KALLSYMS_ABSOLUTE_PERCPU: one that is not negative is an address."""
    return [offset if offset >= 0 else base - 1 - offset for offset in _signed(raw)]


def _from_base(raw: bytes, base: int, _place: int) -> list[int]:
    """All count from the base."""
    return [base + offset for offset in struct.unpack(f"<{len(raw) // 4}I", raw)]


def _token_tables(data: bytes) -> Iterator[tuple[list[bytes], int, int]]:
    """256 strings and, right behind them, where each begins: (tokens, index' offset, table's).

    The digits are in every kernel's names, and each is the token of its own number.
    """
    for digits in _DIGITS.finditer(data):
        start = digits.start()
        for _ in range(ord("0") + 1):
            start = data.rfind(b"\0", 0, start)
            if start < 0:
                return
        start += 1
        tokens = data[start : start + (1 << 16)].split(b"\0", 256)[:256]
        begins = list(accumulate((len(token) + 1 for token in tokens), initial=0))
        if begins[-1] >= 1 << 16 or len(tokens) < 256:
            continue
        index = struct.pack("<256H", *begins[:256])
        end = start + begins[-1]
        at = data.find(index, end, end + 8 + len(index))
        if at >= 0:
            yield tokens, at, start


def _markers(data: bytes, end: int) -> Iterator[tuple[int, list[int]]]:
    """Numbers before END that rise from 0 by what 256 names take: (offset in the file, they).

    Some kernels have another table between them and the tokens, of 3 bytes a symbol: it came with
    6.2 (commits 60443c88f3a8, 19bd8981dc2e) and 6.1.y, and stands behind the offsets since 6.4.
    """
    at = end
    while (at := data.rfind(b"\0\0\0\0", max(0, end - (4 << 20)), at + 3)) >= 0:
        found = [0]
        while at % 4 == 0 and at + 4 * len(found) + 4 <= end:
            (number,) = struct.unpack_from("<I", data, at + 4 * len(found))
            if not 2 * _NAMES <= number - found[-1] <= (_LONGEST + 2) * _NAMES:
                break
            found.append(number)
        if len(found) > 8:
            yield at, found


def _names(data: bytes, end: int, markers: list[int]) -> tuple[int, list[bytes]] | None:
    """The names that end before END: (offset of the first in the file, names as tokens).

    Their number stands before the first, in 8 bytes or, since 7.0 (commit a081b5789255), in 4; the
    markers say how many there may be.
    """
    last = end - markers[-1]
    for number in range(last - last % 4, max(8, last - (_LONGEST + 2) * _NAMES), -4):
        (count,) = struct.unpack_from("<I", data, number)
        if not 0 <= len(markers) * _NAMES - count < _NAMES:
            continue
        for start in (number + 4, number + 8):
            found = _read_names(data, start, end, count, markers)
            if found is not None:
                return start, found
    return None


def _read_names(
    data: bytes, start: int, end: int, count: int, markers: list[int]
) -> list[bytes] | None:
    """COUNT names from START on; None where one does not begin where its marker says."""
    out = []
    at = start
    for number in range(count):
        if number % _NAMES == 0 and at - start != markers[number // _NAMES]:
            return None
        size = data[at]
        at += 1
        if size & 0x80:  # a long one: seven bits, then the rest
            size = size & 0x7F | data[at] << 7
            at += 1
        if not size or at + size > end:
            return None
        out.append(data[at : at + size])
        at += size
    return out if end - at < 16 else None


class _Flat(Image):
    """An arm64 Image: memory from its first byte on (Documentation/arch/arm64/booting.rst). Its
    addresses are distances from there, as it gets its own when it starts."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.segments = self.text = [Segment(0, 0, len(data), len(data))]
        self._starts = [0]


def read(kernel: bytes, where: str) -> Kallsyms:
    """The symbols of the unpacked KERNEL (vmlinuz.payload).

    Addresses are those for which the kernel was linked; of arm64 distances from its first byte.
    Raises BadInputError where they cannot be read.
    """
    return Kallsyms(Image(kernel, where) if kernel[:4] == b"\x7fELF" else _Flat(kernel, where))
