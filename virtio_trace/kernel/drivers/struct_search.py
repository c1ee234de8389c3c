# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the driver structs in a .ko: struct virtio_driver, and the drivers of transports.

By what the code does (it passes the struct to a function that registers it) and by what relocations
make of the data. A driver that nobody has heard of is found like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers import id_tables
from virtio_trace.kernel.drivers.layout import Layout, StructLayout
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.elf_tables import SHF_ALLOC, SHF_EXECINSTR, Call, Place
from virtio_trace.virtio.transports import BUS_DRIVERS

REGISTER_DRIVER = frozenset({"register_virtio_driver", "__register_virtio_driver"})
"""A function in 6.1, a macro around the second one in 6.12 (include/linux/virtio.h)."""
REGISTER_DEVICE = frozenset({"register_virtio_device"})

REGISTERED_BY = {
    "virtio_driver": REGISTER_DRIVER,
    **{driver.struct: frozenset({driver.registrar}) for driver in BUS_DRIVERS},
}
"""Driver struct to the functions that register one."""

_BEFORE_CALL = 96
"""Bytes before a call in which its first argument is set up."""
HINT = "the file may be damaged, or of another kernel than the BTF"


@dataclass(frozen=True, slots=True)
class DriverStruct:
    """A driver struct in a file.

    ``struct`` is its symbol, else its place as text; ``name`` the driver's name; ``call`` the one
    that registers it, None where that is unknown.
    """

    place: Place
    struct: str
    name: str
    call: Call | None


def virtio_structs(module: Module, layout: Layout) -> list[DriverStruct]:
    """Every struct virtio_driver in the file.

    Raises BadInputError where the file registers one and none is found.
    """
    shape = layout.structs["virtio_driver"]
    found = registered_structs(module, REGISTER_DRIVER, shape, need_ids=True)
    seen = {f.place for f in found}
    for place in module.objects(shape.size):
        if place not in seen and looks_like(module, place, shape, need_ids=True):
            found.append(struct_at(module, place, shape, None))
    if not found and module.undefined & REGISTER_DRIVER:
        raise BadInputError(f"{module.where}: registers a virtio_driver, which was not found", HINT)
    return found


def registered_structs(
    module: Module, names: frozenset[str], shape: StructLayout, *, need_ids: bool
) -> list[DriverStruct]:
    """The structs that are passed to one of the functions NAMES, each once."""
    out: dict[Place, DriverStruct] = {}
    for call in module.calls(names):
        place = argument_of(module, call, shape, need_ids)
        if place is not None and place not in out:
            out[place] = struct_at(module, place, shape, call)
    return list(out.values())


def addresses_before(module: Module, call: Call) -> Iterator[Place]:
    """The addresses taken before a call, the nearest first. Raises BadInputError."""
    kinds = module.machine.addresses
    section, end = call.place
    for rela in reversed(module.relocations(section)):
        if rela.offset >= end or rela.type not in kinds:
            continue
        if rela.offset < end - _BEFORE_CALL:
            break
        place = module.target(rela, kinds[rela.type])
        if place is not None:
            yield place
            for more in _added(module, Place(section, rela.offset), end):
                yield Place(place.section, place.offset + more)


def _added(module: Module, start: Place, end: int) -> Iterator[int]:
    """What the code adds to an address to get the first argument.

    On arm64, several objects are reached from one address (gcc's -fsection-anchors).
    """
    if module.machine.add_immediate is None:
        return
    mask, value = module.machine.add_immediate
    code = module.bytes_at(start, max(0, end - start.offset)) or b""
    for (word,) in struct.iter_unpack("<I", code[: len(code) & ~3]):
        if word & mask == value:
            yield word >> 10 & 0xFFF


def argument_of(module: Module, call: Call, shape: StructLayout, need_ids: bool) -> Place | None:
    """The nearest address taken before the call that is that of such a struct."""
    places = addresses_before(module, call)
    return next((p for p in places if looks_like(module, p, shape, need_ids)), None)


def looks_like(module: Module, place: Place, shape: StructLayout, need_ids: bool) -> bool:
    """Whether the relocations at PLACE make a driver: a name, a probe function, an id_table."""
    section = module.sections[place.section]
    if not section.flags & SHF_ALLOC or section.flags & SHF_EXECINSTR:
        return False
    pointers = module.pointers(place.section)
    name = pointers.get(place.offset + shape.name)
    probe = pointers.get(place.offset + shape.functions["probe"])
    if name is None or probe is None or not module.string_at(name):
        return False
    if module.function_at(probe) is None:
        return False
    if not need_ids or shape.id_table is None:
        return True
    table = pointers.get(place.offset + shape.id_table)
    if table is None or module.sections[table.section].flags & SHF_EXECINSTR:
        return False
    return virtio_ids(module, table) is not None


def struct_at(module: Module, place: Place, shape: StructLayout, call: Call | None) -> DriverStruct:
    at = module.pointers(place.section)[place.offset + shape.name]
    where = f"{module.sections[place.section].name}+0x{place.offset:x}"
    name = module.string_at(at) or ""
    return DriverStruct(place, module.object_at(place) or where, name, call)


def virtio_ids(module: Module, place: Place) -> tuple[tuple[int, int], ...] | None:
    """The struct virtio_device_id[] at PLACE; None: no end. Raises BadInputError."""
    size = id_tables.VIRTIO_ID_SIZE
    return id_tables.virtio_ids(
        lambda i: module.bytes_at(Place(place.section, place.offset + size * i), size)
    )
