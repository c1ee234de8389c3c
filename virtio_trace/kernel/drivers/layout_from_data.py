# SPDX-License-Identifier: GPL-2.0-or-later
"""The layout of struct virtio_driver from the data of .ko files alone, without BTF.

The order of the members is fixed. The size of the struct device_driver before them and their number
differ by kernel. Both follow from the structs: their size is in the symbol table, and only with one
size of device_driver does id_table point to device ids, and functions stand where members are
functions.
"""

from __future__ import annotations

from collections.abc import Iterable

from virtio_trace.kernel.drivers import layout, struct_search
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.elf_tables import Place

_SHORTEST = 64
_POINTER = 8


def virtio_driver(modules: Iterable[Module]) -> layout.StructLayout | None:
    """The layout that fits every driver in MODULES, which are of one kernel; None: there is none,
    or more than one. Raises BadInputError."""
    fitting: set[tuple[int, int]] | None = None
    for module in modules:
        for call in module.calls(struct_search.REGISTER_DRIVER):
            for place in struct_search.addresses_before(module, call):
                found = _fitting(module, place)
                if found:
                    fitting = found if fitting is None else fitting & found
                    break
    if fitting is None or len(fitting) != 1:
        return None
    return layout.by_order(*fitting.pop())


def _fitting(module: Module, place: Place) -> set[tuple[int, int]]:
    """(bytes of device_driver, members after it) with which the object at PLACE is a driver."""
    size = module.size_at(place) or 0
    out = set()
    for count in layout.COUNTS:
        base = size - count * _POINTER
        if base < _SHORTEST:
            continue
        shape = layout.by_order(base, count)
        if not struct_search.looks_like(module, place, shape, need_ids=True):
            continue
        assert shape.id_table is not None
        table = module.pointers(place.section)[place.offset + shape.id_table]
        if struct_search.virtio_ids(module, table) and _functions_fit(module, place, shape):
            out.add((base, count))
    return out


def _functions_fit(module: Module, place: Place, shape: layout.StructLayout) -> bool:
    """Whether every pointer to a function is where a member is a function."""
    members = {place.offset + offset for offset in shape.functions.values()}
    inside = range(place.offset, place.offset + shape.size)
    pointers = module.pointers(place.section).items()
    return all(at in members for at, to in pointers if at in inside and module.function_at(to))
