# SPDX-License-Identifier: GPL-2.0-or-later
"""The offsets of the members of the driver structs, for one kernel.

They come from its BTF, never from its version. Only a ``struct virtio_driver`` that BTF lacks (in
5.10, modules have no BTF) is laid out by the order of its members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtio_trace.errors import CannotTraceError
from virtio_trace.virtio.transports import BUS_DRIVERS

if TYPE_CHECKING:
    from virtio_trace.kernel.files.btf import Btf

_POINTER = 8
DRIVERS = {  # struct: the member that holds the name
    "virtio_driver": "driver.name",
    **{driver.struct: driver.name_member for driver in BUS_DRIVERS},
}
"""The structs that are looked up."""


@dataclass(frozen=True, slots=True)
class StructLayout:
    """Size of a driver struct and offsets of its members, in bytes. ``functions``: name to offset.

    ``features``: the offsets of (feature_table, feature_table_size), and of the legacy pair.
    """

    size: int
    name: int
    id_table: int | None
    functions: dict[str, int]
    features: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The layouts of one kernel by struct name, and sizeof(struct pci_device_id) in bytes."""

    structs: dict[str, StructLayout]
    pci_id_size: int = 0


def from_btf(btf: Btf) -> Layout:
    """The layout by BTF, without structs that BTF lacks. Raises BadInputError."""
    structs = {name: struct_from_btf(btf, name) for name in DRIVERS if btf.has(name)}
    return Layout(structs, btf.size("pci_device_id") if btf.has("pci_device_id") else 0)


def by_order(device_driver: int, count: int = 12) -> StructLayout:
    """struct virtio_driver by the order of its members, after DEVICE_DRIVER bytes.

    include/linux/virtio.h has this order since validate was added (commit 404123c2db79); it was
    tested with the modules of 5.10. freeze and restore depend on CONFIG_PM_SLEEP; 6.16
    added three members. COUNT, one of COUNTS, is how many there are and says which.
    """
    members = _ORDERS[count]
    at = {name: device_driver + i * _POINTER for i, name in enumerate(members)}
    functions = {name: at[name] for name in members[5:]}
    pairs = (
        (at["feature_table"], at["feature_table_size"]),
        (at["feature_table_legacy"], at["feature_table_size_legacy"]),
    )
    whole = device_driver + len(members) * _POINTER
    return StructLayout(whole, 0, at["id_table"], functions, pairs)


_ORDER = (
    "id_table",
    "feature_table",
    "feature_table_size",
    "feature_table_legacy",
    "feature_table_size_legacy",
    "validate",
    "probe",
    "scan",
    "remove",
    "config_changed",
    "freeze",
    "restore",
)
_LATER = ("reset_prepare", "reset_done", "shutdown")
_ORDERS = {len(o): o for o in (_ORDER, _ORDER[:-2], _ORDER + _LATER, _ORDER[:-2] + _LATER)}
COUNTS = frozenset(_ORDERS)
"""How many members struct virtio_driver may have after its device_driver."""


def struct_from_btf(btf: Btf, name: str) -> StructLayout:
    """The layout of a struct in DRIVERS. Raises CannotTraceError where BTF lacks a member."""
    try:
        id_table = btf.offset(name, "id_table")
    except CannotTraceError:
        id_table = None  # struct vdpa_driver has no id_table
    pairs: tuple[tuple[int, int], ...] = ()
    if name == "virtio_driver":
        pairs = tuple(
            (btf.offset(name, f"feature_table{x}"), btf.offset(name, f"feature_table_size{x}"))
            for x in ("", "_legacy")
        )
    named, functions = btf.offset(name, DRIVERS[name]), btf.functions(name)
    if "probe" not in functions:
        raise CannotTraceError(
            f"{btf.where}: struct {name}: probe is no function", "is BTF damaged?"
        )
    return StructLayout(btf.size(name), named, id_table, functions, pairs)
