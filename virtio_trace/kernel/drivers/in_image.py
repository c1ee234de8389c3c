# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio drivers and transports that are built into an x86-64 kernel image.

As in struct_search.py, by what the code does: who calls the functions that register a driver, and
which struct's address is in the register of the first argument (%rdi).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from virtio_trace.kernel.drivers import id_tables
from virtio_trace.kernel.drivers.inspection import CallFact, Driver, Transport
from virtio_trace.kernel.drivers.layout import Layout, StructLayout
from virtio_trace.kernel.drivers.struct_reader import StructReader
from virtio_trace.kernel.drivers.struct_search import (
    REGISTER_DEVICE,
    REGISTERED_BY,
)
from virtio_trace.kernel.files.kallsyms import Kallsyms
from virtio_trace.kernel.files.vmlinux_memory import Image, Site
from virtio_trace.recording.evidence import DriverFacts, TransportFacts
from virtio_trace.virtio.transports import BUS_OF, PCI

_BEFORE_CALL = 96
"""Bytes before a call in which its first argument is set up."""
_OPCODE = 1
"""Bytes from a call instruction to its distance, where a .ko has the relocation."""
_RDI = re.compile(rb"(?=(\x48\xc7\xc7|\x48\x8d\x3d)(.{4}))", re.DOTALL)
"""mov $imm32,%rdi and lea rel32(%rip),%rdi."""
_INITCALL = re.compile(
    r"__initcall__kmod_(?P<module>.+?)__\d+_\d+_(?P<init>.+?)(?:[0-7]s?|early|rootfs|con)"
)
"""include/linux/init.h, __initcall_id; without the module's name before 5.12."""


@dataclass(slots=True)
class BuiltIn:
    """What was found, sorted by address."""

    drivers: list[Driver] = field(default_factory=list)
    transports: list[Transport] = field(default_factory=list)
    calls: list[CallFact] = field(default_factory=list)


def read(
    image: Image, symbols: Kallsyms, layout: Layout, aliases: dict[str, tuple[str, ...]]
) -> BuiltIn:
    """Every virtio driver and transport in IMAGE. ALIASES are by module, as far as known."""
    return _Reader(image, symbols, layout, aliases).read()


class _Reader:
    def __init__(
        self, image: Image, symbols: Kallsyms, layout: Layout, aliases: dict[str, tuple[str, ...]]
    ) -> None:
        self.image, self.symbols, self.layout, self.aliases = image, symbols, layout, aliases
        self.modules = modules_of(symbols.by_name)
        self.out = BuiltIn()

    def read(self) -> BuiltIn:
        probes = set()
        for site, callee in self._calls(REGISTER_DEVICE):
            _caller, inside = self.symbols.function_around(site.address)
            probes.add(site.address - inside)
            self._add_call(site, callee, None)
        for kind, registers in REGISTERED_BY.items():
            shape = self.layout.structs.get(kind)
            for site, callee in self._calls(registers) if shape else ():
                assert shape is not None
                self._registration(kind, shape, site, callee, probes)
        return self._named()

    def _named(self) -> BuiltIn:
        """Adds the module where the caller is not an init function."""
        of = {t.facts.functions["probe"]: t.facts.module for t in self.out.transports}
        self.out.calls = [
            replace(call, module=call.module or of.get(call.caller, "")) for call in self.out.calls
        ]
        return self.out

    def _calls(self, names: frozenset[str]) -> Iterator[tuple[Site, str]]:
        where = {at: name for name in names for at in self.symbols.by_name.get(name, ())}
        for site in self.image.calls(where):
            if self.symbols.function_around(site.address)[0] is not None:
                yield site, where[site.target]

    def _registration(
        self, kind: str, shape: StructLayout, site: Site, callee: str, probes: set[int]
    ) -> None:
        """A call that registers a driver; on another bus only if its probe adds devices."""
        at = self._argument(site.address, shape, kind == "virtio_driver")
        if kind == "virtio_driver":
            if at is not None:
                self.out.drivers.append(self._driver(at, shape, site))
            self._add_call(site, callee, at)
        elif at is not None and self.image.number_at(at + shape.functions["probe"]) in probes:
            self.out.transports.append(self._transport(kind, at, shape, site))
            self._add_call(site, callee, at)

    def _argument(self, call: int, shape: StructLayout, need_ids: bool) -> int | None:
        """The last address put into %rdi before the call that is that of such a struct."""
        code = self.image.bytes_at(call - _BEFORE_CALL, _BEFORE_CALL) or b""
        found = None
        for match in _RDI.finditer(code):
            number = int.from_bytes(match[2], "little", signed=True)
            if match[1] == b"\x48\x8d\x3d":
                at = call - _BEFORE_CALL + match.start() + 7 + number
            else:
                at = number % (1 << 64)
            if self._looks_like(at, shape, need_ids):
                found = at
        return found

    def _looks_like(self, at: int, shape: StructLayout, need_ids: bool) -> bool:
        name = self.image.number_at(at + shape.name)
        probe = self.image.number_at(at + shape.functions["probe"])
        if not name or not self.image.string_at(name) or probe not in self.symbols.functions:
            return False
        return not need_ids or self._reader(shape).ids(at) is not None

    def _reader(self, shape: StructLayout) -> StructReader:
        return StructReader(self.image, shape, self.symbols.functions.get)

    def _driver(self, at: int, shape: StructLayout, site: Site) -> Driver:
        reader = self._reader(shape)
        modern, legacy = reader.features(at)
        init = self.symbols.function_around(site.address)[0]
        module = self.modules.get(init or "", "")
        facts = DriverFacts(
            name=reader.name(at) or "",
            module=module,
            file=self.image.where,
            struct=self._struct(at),
            ids=reader.ids(at) or (),
            functions=reader.functions(at),
            init=init,
            aliases=tuple(a for a in self.aliases.get(module, ()) if a.startswith("virtio:")),
            builtin=True,
            features=modern,
            features_legacy=legacy,
        )
        return Driver(facts)

    def _transport(self, kind: str, at: int, shape: StructLayout, site: Site) -> Transport:
        init = self.symbols.function_around(site.address)[0]
        module = self.modules.get(init or "", "")
        matches = self.aliases.get(module, ())
        if kind == PCI.driver.struct and shape.id_table is not None:
            matches = self._pci_matches(self.image.number_at(at + shape.id_table))
        facts = TransportFacts(
            name=self._reader(shape).name(at) or "",
            module=module,
            file=self.image.where,
            struct=self._struct(at),
            bus=BUS_OF[kind],
            matches=matches,
            functions=self._reader(shape).functions(at),
            init=init,
        )
        return Transport(facts, builtin=True)

    def _pci_matches(self, table: int | None) -> tuple[str, ...]:
        size, read = self.layout.pci_id_size, id_tables.PCI_ID_READ
        if not table or size < read:
            return ()
        return id_tables.pci_matches(lambda i: self.image.bytes_at(table + size * i, read)) or ()

    def _struct(self, at: int) -> str:
        """Its symbol. Without CONFIG_KALLSYMS_ALL it has none; addresses are never shown."""
        return self.symbols.object_at(at) or "(no symbol)"

    def _add_call(self, site: Site, callee: str, struct: int | None) -> None:
        caller, inside = self.symbols.function_around(site.address)
        argument = None if struct is None else self._struct(struct)
        module = self.modules.get(caller or "", "")
        self.out.calls.append(CallFact(module, caller, callee, inside + _OPCODE, argument))


def modules_of(names: Iterable[str]) -> dict[str, str]:
    """Init function to its module, by the symbols of the initcalls (KALLSYMS_ALL)."""
    found = (_INITCALL.fullmatch(name) for name in names if "__initcall__kmod_" in name)
    return {match["init"]: match["module"] for match in found if match}
