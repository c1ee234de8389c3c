# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver structs in a .ko: struct virtio_driver, and what puts devices on the bus.

Found by what the code does (passes the struct to the function that registers it) and by what
relocations make of the data, so that a driver nobody has heard of is read alike.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers import id_tables
from virtio_trace.kernel.drivers.layout import Layout, StructLayout
from virtio_trace.kernel.files.elf import R_ADDRESS, SHF_ALLOC, SHF_EXECINSTR, Call, Module, Place
from virtio_trace.recording.evidence import DriverFacts, TransportFacts
from virtio_trace.virtio.transports import BUS_DRIVERS, PCI

REGISTER_DRIVER = frozenset({"register_virtio_driver", "__register_virtio_driver"})
"""A function in 6.1, a macro around the second one in 6.12 (include/linux/virtio.h)."""
REGISTER_DEVICE = frozenset({"register_virtio_device"})

REGISTERED_BY = {
    "virtio_driver": REGISTER_DRIVER,
    **{driver.struct: frozenset({driver.registrar}) for driver in BUS_DRIVERS},
}
"""Driver struct to the functions that take one."""

_BEFORE_CALL = 96
"""How many bytes before a call its first argument may be set up."""
_ADD_TO_X0, _ADD_TO_X0_MASK = 0x91000000, 0xFFC0001F
"""add x0, xN, #imm12 (Arm Architecture Reference Manual, ADD (immediate))."""
_MAX_FEATURES = 4096
_HINT = "the file may be damaged, or of another kernel than the BTF"


@dataclass(frozen=True, slots=True)
class Found:
    """A driver struct in a file: its place, its own name or its place in words, its call."""

    place: Place
    struct: str
    name: str
    call: Call | None


def virtio_structs(module: Module, layout: Layout) -> list[Found]:
    """Every struct virtio_driver of the file. Raises BadInputError for a file that registers
    one which cannot be found."""
    shape = layout.structs["virtio_driver"]
    found = _registered(module, REGISTER_DRIVER, shape, need_ids=True)
    seen = {f.place for f in found}
    for place in module.objects(shape.size):
        if place not in seen and looks_like(module, place, shape, need_ids=True):
            found.append(_found(module, place, shape, None))
    if not found and module.undefined & REGISTER_DRIVER:
        raise BadInputError(f"{module.where}: registers a virtio_driver that was not found", _HINT)
    return found


def virtio_drivers(module: Module, layout: Layout, file: str) -> list[DriverFacts]:
    """Every virtio driver of the file; FILE is what the facts call it. Raises BadInputError."""
    structs = virtio_structs(module, layout)
    if not structs:
        return []
    shape = layout.structs["virtio_driver"]
    assert shape.id_table is not None
    name, aliases = names(module, file)
    out = []
    for found in structs:
        section, offset = found.place
        table = module.pointers(section)[offset + shape.id_table]
        ids = virtio_ids(module, table)
        modern, legacy = features(module, found, shape)
        out.append(
            DriverFacts(
                name=found.name,
                module=name,
                file=file,
                struct=found.struct,
                ids=ids or (),
                functions=_functions(module, found.place, shape),
                init=module.init or (found.call.caller if found.call else None),
                aliases=tuple(a for a in aliases if a.startswith("virtio:")),
                build_id=module.build_id,
                features=modern,
                features_legacy=legacy,
            )
        )
    return out


def transports(module: Module, layout: Layout, file: str) -> list[TransportFacts]:
    """What in the file puts devices on the VirtIO bus; [] where it never registers one.

    ``matches`` come from the id_table of a pci_driver, else from .modinfo. Raises BadInputError.
    """
    if not module.undefined & REGISTER_DEVICE:
        return []
    name, aliases = names(module, file)
    out = []
    for driver in BUS_DRIVERS:
        shape = layout.structs.get(driver.struct)
        if shape is None or driver.registrar not in module.undefined:
            continue
        for found in _registered(module, frozenset({driver.registrar}), shape, need_ids=False):
            matches = _pci_matches(module, found.place, shape, layout.pci_id_size)
            out.append(
                TransportFacts(
                    name=found.name,
                    module=name,
                    file=file,
                    struct=found.struct,
                    bus=driver.bus,
                    matches=matches if driver is PCI.driver else aliases,
                    functions=_functions(module, found.place, shape),
                    init=module.init or (found.call.caller if found.call else None),
                    build_id=module.build_id,
                )
            )
    return out


def registrations(module: Module, layout: Layout) -> list[tuple[Call, str | None]]:
    """Every call that registers a virtio driver or device, or a transport's driver, with the name
    of the driver struct that is handed over. In the file's order. Raises BadInputError."""
    if not module.undefined & (REGISTER_DRIVER | REGISTER_DEVICE):
        return []
    out: list[tuple[Call, str | None]] = [(call, None) for call in module.calls(REGISTER_DEVICE)]
    for kind, names in REGISTERED_BY.items():
        shape = layout.structs.get(kind)
        need_ids = kind == "virtio_driver"
        for call in module.calls(names):
            place = _argument(module, call, shape, need_ids) if shape else None
            found = _found(module, place, shape, call) if shape and place else None
            out.append((call, found.struct if found else None))
    return sorted(out, key=lambda pair: pair[0].place)


def features(module: Module, found: Found, shape: StructLayout) -> tuple[tuple[int, ...], ...]:
    """Feature bits of feature_table and of feature_table_legacy, as the file has them.

    Raises BadInputError.
    """
    out: list[tuple[int, ...]] = []
    for table, count in shape.features:
        raw = module.bytes_at(Place(found.place.section, found.place.offset + count), 4)
        number = int.from_bytes(raw or b"", "little")
        at = module.pointers(found.place.section).get(found.place.offset + table)
        bits = module.bytes_at(at, 4 * min(number, _MAX_FEATURES)) if at and number else b""
        if bits is None:
            raise BadInputError(f"{module.where}: {found.struct}: damaged feature table", _HINT)
        out.append(struct.unpack(f"<{len(bits) // 4}I", bits))
    return tuple(out)


def names(module: Module, file: str) -> tuple[str, tuple[str, ...]]:
    """The module's name, as lsmod has it, and all its aliases, by .modinfo."""
    info = list(module.modinfo())
    base = file.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
    name = next((value for key, value in info if key == "name"), base)
    return name, tuple(value for key, value in info if key == "alias")


def _registered(
    module: Module, names: frozenset[str], shape: StructLayout, *, need_ids: bool
) -> list[Found]:
    """The structs that are handed to one of the functions NAMES, each once."""
    out: dict[Place, Found] = {}
    for call in module.calls(names):
        place = _argument(module, call, shape, need_ids)
        if place is not None and place not in out:
            out[place] = _found(module, place, shape, call)
    return list(out.values())


def addresses_before(module: Module, call: Call) -> Iterator[Place]:
    """The addresses that are taken before a call, the nearest first. Raises BadInputError."""
    kinds = R_ADDRESS[module.machine]
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
    """What arm64 code adds to an address to make the first argument of it: several objects of one
    section are reached from one address (gcc's -fsection-anchors)."""
    if module.machine != "aarch64":
        return
    code = module.bytes_at(start, max(0, end - start.offset)) or b""
    for (word,) in struct.iter_unpack("<I", code[: len(code) & ~3]):
        if word & _ADD_TO_X0_MASK == _ADD_TO_X0:
            yield word >> 10 & 0xFFF


def _argument(module: Module, call: Call, shape: StructLayout, need_ids: bool) -> Place | None:
    """The nearest address taken before the call that is one of such a struct."""
    places = addresses_before(module, call)
    return next((p for p in places if looks_like(module, p, shape, need_ids)), None)


def looks_like(module: Module, place: Place, shape: StructLayout, need_ids: bool) -> bool:
    """Whether the relocations there make it a driver: a name, a probe function, an id_table."""
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


def _found(module: Module, place: Place, shape: StructLayout, call: Call | None) -> Found:
    at = module.pointers(place.section)[place.offset + shape.name]
    where = f"{module.sections[place.section].name}+0x{place.offset:x}"
    name = module.string_at(at) or ""
    return Found(place, module.object_at(place) or where, name, call)


def _functions(module: Module, place: Place, shape: StructLayout) -> dict[str, str | None]:
    """Function members by name. One outside of the file, or without a symbol, is none of ours."""
    pointers = module.pointers(place.section)
    out: dict[str, str | None] = {}
    for member, offset in shape.functions.items():
        at = pointers.get(place.offset + offset)
        out[member] = module.function_at(at) if at else None
    return out


def virtio_ids(module: Module, place: Place) -> tuple[tuple[int, int], ...] | None:
    """The struct virtio_device_id[] at PLACE; None where it does not end. Raises BadInputError."""
    size = id_tables.VIRTIO_ID_SIZE
    return id_tables.virtio_ids(
        lambda i: module.bytes_at(Place(place.section, place.offset + size * i), size)
    )


def _pci_matches(module: Module, place: Place, shape: StructLayout, size: int) -> tuple[str, ...]:
    """A pci_driver's id_table as module aliases; entries are of SIZE bytes."""
    if shape.id_table is None or size < id_tables.PCI_ID_READ:
        return ()
    table = module.pointers(place.section).get(place.offset + shape.id_table)
    if table is None:
        return ()
    found = id_tables.pci_matches(
        lambda i: module.bytes_at(
            Place(table.section, table.offset + size * i), id_tables.PCI_ID_READ
        )
    )
    if found is None:
        raise BadInputError(f"{module.where}: the id_table of a pci_driver has no end", _HINT)
    return found
