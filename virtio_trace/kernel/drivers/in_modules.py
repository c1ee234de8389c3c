# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about the drivers and transports in a .ko, from the structs in it."""

from __future__ import annotations

import struct

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers import id_tables
from virtio_trace.kernel.drivers.layout import Layout, StructLayout
from virtio_trace.kernel.drivers.struct_search import (
    HINT,
    REGISTER_DEVICE,
    REGISTER_DRIVER,
    REGISTERED_BY,
    DriverStruct,
    argument_of,
    registered_structs,
    struct_at,
    virtio_ids,
    virtio_structs,
)
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.elf_tables import Call, Place
from virtio_trace.recording.evidence import DriverFacts, TransportFacts
from virtio_trace.virtio.transports import BUS_DRIVERS, PCI

_MAX_FEATURES = 4096


def virtio_drivers(module: Module, layout: Layout, file: str) -> list[DriverFacts]:
    """Every virtio driver in the file, which the facts call FILE. Raises BadInputError."""
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
    """The transports in the file: drivers that add devices to the VirtIO bus.

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
        for found in registered_structs(
            module, frozenset({driver.registrar}), shape, need_ids=False
        ):
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
    """Every call that registers a virtio driver or device, or a transport's driver, with the symbol
    of the driver struct that is passed; in the file's order. Raises BadInputError."""
    if not module.undefined & (REGISTER_DRIVER | REGISTER_DEVICE):
        return []
    out: list[tuple[Call, str | None]] = [(call, None) for call in module.calls(REGISTER_DEVICE)]
    for kind, names in REGISTERED_BY.items():
        shape = layout.structs.get(kind)
        need_ids = kind == "virtio_driver"
        for call in module.calls(names):
            place = argument_of(module, call, shape, need_ids) if shape else None
            found = struct_at(module, place, shape, call) if shape and place else None
            out.append((call, found.struct if found else None))
    return sorted(out, key=lambda pair: pair[0].place)


def features(
    module: Module, found: DriverStruct, shape: StructLayout
) -> tuple[tuple[int, ...], ...]:
    """The bits in feature_table and in feature_table_legacy. Raises BadInputError."""
    out: list[tuple[int, ...]] = []
    for table, count in shape.features:
        raw = module.bytes_at(Place(found.place.section, found.place.offset + count), 4)
        number = int.from_bytes(raw or b"", "little")
        at = module.pointers(found.place.section).get(found.place.offset + table)
        bits = module.bytes_at(at, 4 * min(number, _MAX_FEATURES)) if at and number else b""
        if bits is None:
            raise BadInputError(f"{module.where}: {found.struct}: damaged feature table", HINT)
        out.append(struct.unpack(f"<{len(bits) // 4}I", bits))
    return tuple(out)


def names(module: Module, file: str) -> tuple[str, tuple[str, ...]]:
    """The module's name as in lsmod, and all its aliases, from .modinfo."""
    info = list(module.modinfo())
    base = file.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
    name = next((value for key, value in info if key == "name"), base)
    return name, tuple(value for key, value in info if key == "alias")


def _functions(module: Module, place: Place, shape: StructLayout) -> dict[str, str | None]:
    """Function members by name; None: not set, outside of the file, or without a symbol."""
    pointers = module.pointers(place.section)
    out: dict[str, str | None] = {}
    for member, offset in shape.functions.items():
        at = pointers.get(place.offset + offset)
        out[member] = module.function_at(at) if at else None
    return out


def _pci_matches(module: Module, place: Place, shape: StructLayout, size: int) -> tuple[str, ...]:
    """The id_table of a pci_driver as module aliases; an entry has SIZE bytes."""
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
        raise BadInputError(f"{module.where}: the id_table of a pci_driver has no end", HINT)
    return found
