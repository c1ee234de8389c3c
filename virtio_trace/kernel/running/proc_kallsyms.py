# SPDX-License-Identifier: GPL-2.0-or-later
"""The running kernel's symbols, by /proc/kallsyms (kernel/kallsyms.c, s_show).

One text of some 7 MB that is searched: taking 160,000 lines apart in Python would cost seconds in
an emulated guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

NOT_MODULES = ("bpf", "__builtin__kprobes", "__builtin__ftrace")
"""What stands in a module's place for code that the kernel made itself."""
Found = Mapping[str, Sequence[tuple[str | None, int]]]
"""Names to where functions of that name are: module, None for the kernel itself, and address."""

_CODE = "tTwW"
_NOT_NAMES = (".", "__pfx_", "__cfi_")
"""What stands at a function's address beside its name, or before it."""


def of_module(found: Found, module: str | None) -> dict[str, list[int]]:
    """The functions of MODULE, or of the kernel itself, that were FOUND: name to addresses."""
    return {
        name: [address for where, address in places if where == module]
        for name, places in found.items()
    }


class Addresses:
    """Names to addresses and back. Addresses are 0 where the kernel hides them (kptr_restrict)."""

    def __init__(self, text: bytes) -> None:
        self._text = b"\n" + text.rstrip(b"\n") + b"\n" if text else b""

    def functions(self, names: Iterable[str]) -> dict[str, list[tuple[str | None, int]]]:
        """Each of NAMES to [(its module or None, its address)]: what is in code.

        A name that is not there has [], one that is there twice two.
        """
        found: dict[str, list[tuple[str | None, int]]] = {name: [] for name in names}
        if not found:
            return {}
        any_name = b"|".join(re.escape(name.encode()) for name in found)
        pattern = rb" [tTwW] (%s)(?:\t\[(\S+)\])?(?=\n)" % any_name
        for match in re.finditer(pattern, self._text):
            name, module = match.groups(b"")
            where = module.decode("utf-8", "replace") or None
            if where not in NOT_MODULES:
                # Looked up behind the match: in the pattern it would be tried on every line.
                address = self._text[self._text.rfind(b"\n", 0, match.start()) + 1 : match.start()]
                found[name.decode()].append((where, int(address, 16)))
        return {
            name: sorted(places, key=lambda place: (place[0] or "", place[1]))
            for name, places in found.items()
        }

    def variable(self, name: str) -> list[int]:
        """Where the kernel itself has a NAME that may be data: [] without CONFIG_KALLSYMS_ALL."""
        lines = (self._line(end) for end in _places(self._text, b" %s\n" % name.encode()))
        return [address for address, _kind, _name, _module in lines]

    def function_at(self, address: int) -> str | None:
        """The name of what is in code at ADDRESS; of several the first that is a plain one."""
        found = (name for kind, name in self._at(address) if kind in _CODE)
        return next((name for name in found if not name.startswith(_NOT_NAMES)), None)

    def object_at(self, address: int) -> str | None:
        """The name of the variable at ADDRESS; None also without CONFIG_KALLSYMS_ALL.

        Whatever its type: in 7.2 symbols of .data have the type of code.
        """
        return next((name for _kind, name in self._at(address)), None)

    @cached_property
    def initcalls(self) -> tuple[str, ...]:
        """The symbols of the kernel's own initcalls (include/linux/init.h, __initcall_id)."""
        found = re.findall(rb" (__initcall__kmod_\w+)\n", self._text)
        return tuple(name.decode() for name in found)

    def _at(self, address: int) -> Iterator[tuple[str, str]]:
        """(type, name) of each symbol at ADDRESS."""
        for start in _places(self._text, b"\n%016x " % address) if address else ():
            _address, kind, name, _module = self._line(start + 1)
            yield kind, name

    def _line(self, at: int) -> tuple[int, str, str, str]:
        """(address, type, name, module or "") of the line that AT is in."""
        start, end = self._text.rindex(b"\n", 0, at) + 1, self._text.index(b"\n", at)
        address, kind, rest = self._text[start:end].decode("utf-8", "replace").split(" ", 2)
        name, _, module = rest.partition("\t")
        return int(address, 16), kind, name, module.strip("[]")


def _places(text: bytes, what: bytes) -> Iterator[int]:
    at = text.find(what)
    while at >= 0:
        yield at
        at = text.find(what, at + 1)
