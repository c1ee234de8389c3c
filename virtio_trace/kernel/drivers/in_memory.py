# SPDX-License-Identifier: GPL-2.0-or-later
"""The drivers that are registered with the VirtIO bus, read from the running kernel's memory.

For drivers in no file of the module tree: built-in ones, and modules whose file is gone. The driver
core's lists lead to them, in every kernel the same way (drivers/base/bus.c and base.h):
bus_kset has each bus's struct subsys_private, whose klist_drivers has each driver's struct
driver_private, which points to its struct device_driver; a struct virtio_driver begins with that.
The lists are read without their locks: a broken link ends the search, and sysfs has the names of
all drivers that must be found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields

from virtio_trace.errors import CannotTraceError, VirtioTraceError
from virtio_trace.kernel.drivers.in_image import modules_of
from virtio_trace.kernel.drivers.layout import StructLayout
from virtio_trace.kernel.drivers.struct_reader import StructReader
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.memory import KCORE, Kcore, Memory
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import registered
from virtio_trace.kernel.running.proc_kallsyms import Addresses
from virtio_trace.recording.evidence import DriverFacts, Evidence

BUS = "virtio"
_BUSES = "bus_kset"
_MAX_ENTRIES = 4096
"""A list with more entries is taken for circular."""
_DEAD = 1
"""KNODE_DEAD in n_klist: the entry is being removed (lib/klist.c)."""
_TRIES = 3

Opens = Callable[[], AbstractContextManager[Memory]]


@dataclass(frozen=True, slots=True)
class Links:
    """Offsets in bytes of the members between bus_kset and the drivers of a bus."""

    kset_list: int
    kobject_entry: int
    kobject_name: int
    private_kobject: int
    private_drivers: int
    node_entry: int
    node_list: int
    driver_private_node: int
    driver_private_driver: int
    driver_owner: int

    @classmethod
    def from_btf(cls, btf: Btf) -> Links:
        """The offsets by BTF. Raises CannotTraceError where it lacks a member."""
        return cls(**{field.name: btf.offset(*_LINKS[field.name]) for field in fields(cls)})


_LINKS = {
    "kset_list": ("kset", "list"),
    "kobject_entry": ("kobject", "entry"),
    "kobject_name": ("kobject", "name"),
    "private_kobject": ("subsys_private", "subsys.kobj"),
    "private_drivers": ("subsys_private", "klist_drivers.k_list"),
    "node_entry": ("klist_node", "n_node"),
    "node_list": ("klist_node", "n_klist"),
    "driver_private_node": ("driver_private", "knode_bus"),
    "driver_private_driver": ("driver_private", "driver"),
    "driver_owner": ("device_driver", "owner"),
}


@dataclass(frozen=True, slots=True)
class KernelView:
    """What is known of the running kernel: its module tree, its symbols, and the layout of its
    struct virtio_driver, None where unknown. ``links`` may raise CannotTraceError."""

    tree: ModuleTree
    links: Callable[[], Links]
    addresses: Addresses
    shape: StructLayout | None


def add_registered(
    evidence: Evidence,
    kernel: KernelView,
    names: Mapping[str, str | None] | None = None,
    opens: Opens = Kcore,
) -> Evidence:
    """EVIDENCE with the drivers that sysfs has and EVIDENCE lacks.

    Drivers that cannot be read are in ``unread``, under /proc/kcore. NAMES are the drivers' names
    in sysfs, to their modules. Never raises a VirtioTraceError.
    """
    if names is None:
        names = {driver.name: driver.module for driver in registered()}
    wanted = {name: module for name, module in names.items() if evidence.driver(name) is None}
    if not wanted:
        return evidence
    try:
        found = _read(wanted, kernel, opens)
        missing = ", ".join(sorted(wanted.keys() - found.keys()))
        lost = f"{missing}: not found on the bus, or unreadable" if missing else ""
    except VirtioTraceError as error:
        found, lost = {}, str(error).removeprefix(f"{KCORE}: ")
    unread = {**evidence.unread, str(KCORE): lost} if lost else evidence.unread
    added = (*evidence.drivers, *found.values())
    return dataclasses.replace(evidence, drivers=added, unread=unread)


def _read(
    wanted: Mapping[str, str | None], kernel: KernelView, opens: Opens
) -> dict[str, DriverFacts]:
    """The drivers that were found, by name. Raises CannotTraceError."""
    if kernel.shape is None:
        raise CannotTraceError("the layout of struct virtio_driver is not known")
    found: dict[str, DriverFacts] = {}
    links, start = kernel.links(), _buses(kernel.addresses)
    with opens() as memory:
        structs = StructReader(memory, kernel.shape, kernel.addresses.function_at)
        reader = _Reader(structs, kernel)
        for _ in range(_TRIES):  # a list may change while it is read
            for at in drivers(memory, links, start):
                name = structs.name(at) or ""
                if name in wanted and name not in found:
                    owner = memory.number_at(at + links.driver_owner)
                    facts = reader.facts(at, name, wanted[name], builtin=owner == 0)
                    if facts is not None:
                        found[name] = facts
            if found.keys() == wanted.keys():
                break
    return found


def _buses(addresses: Addresses) -> int:
    """The address of the variable bus_kset (drivers/base/bus.c). Raises CannotTraceError."""
    places = addresses.variable(_BUSES)
    if len(places) != 1:
        count = "no" if not places else f"{len(places)} symbols"
        raise CannotTraceError(
            f"/proc/kallsyms has {count} {_BUSES}", "needs a kernel with CONFIG_KALLSYMS_ALL=y"
        )
    if not places[0]:
        raise CannotTraceError(
            "the kernel hides its addresses (kptr_restrict)", "sysctl kernel.kptr_restrict=1"
        )
    return places[0]


def drivers(memory: Memory, links: Links, buses: int) -> list[int]:
    """Addresses of the struct device_driver of every driver on the VirtIO bus; [] where the bus is
    missing or cannot be reached. BUSES is the address of bus_kset."""
    top = memory.number_at(buses)
    for entry in _list(memory, top + links.kset_list) if top else ():
        kobject = entry - links.kobject_entry
        name = memory.number_at(kobject + links.kobject_name)
        if name and memory.string_at(name) == BUS:
            private = kobject - links.private_kobject
            nodes = _list(memory, private + links.private_drivers)
            return list(_drivers(memory, links, nodes))
    return []


def _drivers(memory: Memory, links: Links, nodes: Iterator[int]) -> Iterator[int]:
    for entry in nodes:
        node = entry - links.node_entry
        klist = memory.number_at(node + links.node_list)
        owner = node - links.driver_private_node
        driver = memory.number_at(owner + links.driver_private_driver)
        if driver and klist and not klist & _DEAD:
            yield driver


def _list(memory: Memory, head: int) -> Iterator[int]:
    """The entries of a struct list_head (include/linux/list.h), along ``next``."""
    at = memory.number_at(head)
    for _ in range(_MAX_ENTRIES):
        if not at or at == head:
            return
        yield at
        at = memory.number_at(at)


@dataclass(frozen=True, slots=True)
class _Reader:
    structs: StructReader
    kernel: KernelView

    def facts(self, at: int, name: str, module: str | None, *, builtin: bool) -> DriverFacts | None:
        """The struct virtio_driver at AT; None where its id_table cannot be read."""
        ids = self.structs.ids(at)
        if ids is None:
            return None
        if builtin:
            module = builtin_module(name, ids, self.kernel.tree)
        aliases = self.kernel.tree.builtin_aliases.get(module or "", ())
        inits = modules_of(self.kernel.addresses.initcalls)
        modern, legacy = self.structs.features(at)
        mine = [init for init, of in inits.items() if builtin and of == module]
        return DriverFacts(
            name=name,
            module=module or "",
            file=str(KCORE),
            struct=self.kernel.addresses.object_at(at) or "(no symbol)",
            ids=ids,
            functions=self.structs.functions(at),
            init=mine[0] if len(mine) == 1 else None,
            aliases=tuple(alias for alias in aliases if alias.startswith("virtio:")),
            builtin=builtin,
            features=modern,
            features_legacy=legacy,
        )


def builtin_module(name: str, ids: Collection[tuple[int, int]], tree: ModuleTree) -> str | None:
    """The module that a built-in driver would be if built as one; None: unknown.

    It is the module in modules.builtin with the driver's name, else the only one with its ids as
    aliases. The struct does not say: its owner, THIS_MODULE, is NULL.
    """
    same = name.replace("-", "_")
    if same in tree.builtin:
        return same
    mine = {f"virtio:d{device:08X}v*" for device, _vendor in ids}
    have = [module for module, found in tree.builtin_aliases.items() if mine & set(found)]
    return have[0] if len(have) == 1 else None
