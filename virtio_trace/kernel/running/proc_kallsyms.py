# SPDX-License-Identifier: GPL-2.0-or-later
"""The running kernel's symbols, from /proc/kallsyms (kernel/kallsyms.c, s_show).

The text of some 7 MB is searched: splitting 160,000 lines in Python takes seconds in an emulated
guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

NOT_MODULES = ("bpf", "__builtin__kprobes", "__builtin__ftrace")
"""Printed in place of a module for code that the kernel generated."""
Found = Mapping[str, Sequence[tuple[str | None, int]]]
"""Name to the functions of that name: (module, None for the kernel itself; address)."""

_CODE = "tTwW"
_NOT_NAMES = (".", "__pfx_", "__cfi_")
"""Symbols that share a function's address, or precede it."""


def of_module(found: Found, module: str | None) -> dict[str, list[int]]:
    """The functions in FOUND that are MODULE's, None for the kernel's own: name to addresses."""
    return {
        name: [address for where, address in places if where == module]
        for name, places in found.items()
    }


class Addresses:
    """Names to addresses and back. All addresses are 0 where the kernel hides them (kptr_restrict).

    Damaged lines are no symbols: the text may be a guest's.
    """

    def __init__(self, text: bytes) -> None:
        self._text = b"\n" + text.rstrip(b"\n") + b"\n" if text else b""

    def functions(self, names: Iterable[str]) -> dict[str, list[tuple[str | None, int]]]:
        """Each of NAMES to the functions of that name, [(module or None, address)], [] if none."""
        found: dict[str, list[tuple[str | None, int]]] = {name: [] for name in names}
        if not found:
            return {}
        any_name = _any_of({name.encode() for name in found})
        pattern = rb" [tTwW] (%s)(?:\t\[(\S+)\])?(?=\n)" % any_name
        for match in re.finditer(pattern, self._text):
            name, module = match.groups(b"")
            where = module.decode("utf-8", "replace") or None
            if where not in NOT_MODULES:
                # Looked up after the match: in the pattern it would be tried on every line.
                start = self._text.rfind(b"\n", 0, match.start()) + 1
                address = _address(self._text[start : match.start()])
                if address is not None:
                    found[name.decode()].append((where, address))
        return {
            name: sorted(places, key=lambda place: (place[0] or "", place[1]))
            for name, places in found.items()
        }

    def variable(self, name: str) -> list[int]:
        """Addresses of the kernel's own symbol NAME; data needs CONFIG_KALLSYMS_ALL."""
        lines = (self._line(end) for end in _places(self._text, b" %s\n" % name.encode()))
        return [line[0] for line in lines if line]

    def function_at(self, address: int) -> str | None:
        """The function at ADDRESS; of several names the first plain one."""
        found = (name for kind, name in self._at(address) if kind in _CODE)
        return next((name for name in found if not name.startswith(_NOT_NAMES)), None)

    def object_at(self, address: int) -> str | None:
        """The variable at ADDRESS; None also without CONFIG_KALLSYMS_ALL.

        Of any type: in 7.2, symbols of .data have the type of code.
        """
        return next((name for _kind, name in self._at(address)), None)

    @cached_property
    def initcalls(self) -> tuple[str, ...]:
        """The symbols of built-in initcalls (include/linux/init.h, __initcall_id)."""
        # Found as plain bytes first, which takes a tenth of the time of a pattern.
        places = _places(self._text, b" __initcall__kmod_")
        found = (_INITCALL.match(self._text, at) for at in places)
        return tuple(match[1].decode() for match in found if match)

    def _at(self, address: int) -> Iterator[tuple[str, str]]:
        """(type, name) of each symbol at ADDRESS."""
        for start in _places(self._text, b"\n%016x " % address) if address else ():
            line = self._line(start + 1)
            if line:
                yield line[1:3]

    def _line(self, at: int) -> tuple[int, str, str, str] | None:
        """(address, type, name, module or "") of the line around AT; None: it is damaged."""
        start, end = self._text.rindex(b"\n", 0, at) + 1, self._text.index(b"\n", at)
        number, _, rest = self._text[start:end].partition(b" ")
        kind, _, rest = rest.partition(b" ")
        name, _, module = rest.decode("utf-8", "replace").partition("\t")
        address = _address(number)
        if address is None or not name:
            return None
        return address, kind.decode("utf-8", "replace"), name, module.strip("[]")


_INITCALL = re.compile(rb" (__initcall__kmod_\w+)\n")
_ADDRESS = re.compile(rb"[0-9a-f]{1,16}")


def _address(digits: bytes) -> int | None:
    return int(digits, 16) if _ADDRESS.fullmatch(digits) else None


def _any_of(names: Iterable[bytes]) -> bytes:
    """A pattern for NAMES that has each common beginning once: re would try all names one by one,
    at each of 100,000 symbols."""
    rests: dict[bytes, set[bytes]] = {}
    for name in names:
        rests.setdefault(name[:1], set()).add(name[1:])
    ends = rests.pop(b"", None) is not None
    parts = [re.escape(first) + _any_of(rest) for first, rest in sorted(rests.items())]
    if len(parts) < 2 and not ends:
        return b"".join(parts)
    return b"(?:%s)%s" % (b"|".join(parts), b"?" if ends else b"") if parts else b""


def _places(text: bytes, what: bytes) -> Iterator[int]:
    at = text.find(what)
    while at >= 0:
        yield at
        at = text.find(what, at + 1)
