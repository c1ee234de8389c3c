# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe table as tracefs definitions with fetch arguments: what needs no program.

``p:GROUP/NAME TARGET v=%di s=%si`` (Documentation/trace/kprobetrace.rst): registers and memory
at fixed offsets, no loop and no condition. So a device's pointer is fetched at every event and its
address once, when it comes to be (``ringtext.py`` puts the two together); pointers end there.
A definition is short, for a kernel's command line has 2,047 characters: one letter an argument,
and where two members lie side by side one argument for both. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from virtio_trace.kernel.files import machine as machines
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.resolve import Settled
from virtio_trace.tracer.points.table import ProbePoint
from virtio_trace.tracer.points.target import Target

Offsets = Mapping[str, int]
"""What struct_offsets.struct_offsets gives: bytes, by their names in wire.WireOffsets."""

TABLE_LENGTH = 40
"""Entries of a driver's feature table that are fetched (virtio_net has 36 in Linux 7.3)."""

CODES = {
    "bus_register": "b",
    "register_virtio_driver": "d",
    "unregister_virtio_driver": "e",
    "virtio_pci_probe": "c",
    "virtio_pci_modern_probe": "m",
    "virtio_pci_legacy_probe": "l",
    "virtio_mmio_probe": "o",
    "register_virtio_device": "r",
    "unregister_virtio_device": "u",
    "virtio_dev_match": "t",
    "virtio_dev_probe": "p",
    "virtio_dev_remove": "x",
    "set_status": "s",
    "reset": "z",
    "get_features": "f",
    "find_vqs": "v",
    "setup_vq": "q",
    "find_vqs_msix": "i",
    "driver_features": "a",
    "virtio_features_ok": "k",
    "virtio_device_freeze": "w",
    "virtio_device_restore": "y",
    "do_init_module": "n",
    "driver_probe": "g",
    "driver_validate": "h",
    "vring_create_virtqueue": "j",
}
"""A probe point's letter: its entry's event has it in lower case, its return's in upper case."""

_ANNOUNCING = ("virtio_pci_modern_probe", "virtio_pci_legacy_probe", "register_virtio_device")
"""Entries at which a device's address is fetched: nothing is done to it before one of them."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One event. ``number`` is that of its point among the settled ones; ``arguments`` are the
    fetch arguments. Its event's NAME is unique among those made together."""

    name: str
    number: int
    point: ProbePoint
    target: Target
    returns: bool
    arguments: tuple[str, ...] = ()

    def command(self, group: str, maxactive: int = 0) -> str:
        """As it is written to kprobe_events; MAXACTIVE calls of a return's function at once."""
        active = str(maxactive) if self.returns and maxactive else ""
        kind = f"{'r' if self.returns else 'p'}{active}"
        return " ".join((f"{kind}:{group}/{self.name}", str(self.target), *self.arguments))

    def parameter(self, group: str) -> str:
        """As it stands in the kernel parameter kprobe_event=."""
        return self.command(group).replace(" ", ",")


def definitions(
    settled: Iterable[Settled], offsets: Offsets, machine: str, *, whole: bool = True
) -> list[Definition]:
    """The definitions of all points that have a target, in their order, entry before return.

    WHOLE: every event describes its device itself, as one that was there before the first event is
    known no other way; else only where it comes to be, which is shorter. None for a MACHINE
    (``uname -m``) whose registers are not known.
    """
    names: dict[str, int] = {}
    out: list[Definition] = []
    known = machines.by_name(machine)  # $argN is refused for a module that is not loaded yet
    registers = known.arguments if known else None
    for number, one in enumerate(settled):
        if one.target is None or registers is None:
            continue
        code = CODES[one.point.name]
        count = names[code] = names.get(code, -1) + 1
        name = f"{code}{count or ''}"
        fetch = _Fetch(one.point, one.target, offsets, registers, whole)
        for returns in _kinds(one.point):
            arguments = fetch.at_return() if returns else fetch.at_entry()
            title = name.upper() if returns else name
            out.append(Definition(title, number, one.point, one.target, returns, arguments))
    return out


def _kinds(point: ProbePoint) -> tuple[bool, ...]:
    """Entry, return or both, by whether it is a return. The entry is wanted even where only the
    return makes an event, for it has the device."""
    if point.subject == shape.NOTHING:
        return (True,)
    return (False, True) if point.returns else (False,)


def reach(start: str, *offsets: int) -> str:
    """What is OFFSETS away from START, each from what was read at the one before."""
    for offset in offsets:
        start = f"+{offset}({start})"
    return start


def string(name: str, start: str, *offsets: int) -> str:
    """The C string that begins there."""
    return f"{name}={reach(start, *offsets)}:string"


class _Fetch:
    """The fetch arguments of one point."""

    def __init__(
        self,
        point: ProbePoint,
        target: Target,
        offsets: Offsets,
        registers: tuple[str, ...],
        whole: bool,
    ) -> None:
        self.point = point
        self.target = target
        self.at = offsets
        self.registers = registers
        self.whole = whole

    def at_entry(self) -> tuple[str, ...]:
        found = self._subject()
        if self.point.driver_second:
            found.append(string("r", self.registers[1], self.at["driver_name"], 0))
        return (*found, *self._detail())

    def at_return(self) -> tuple[str, ...]:
        found = ["x=$retval"] if self.point.result else []
        if self.point.detail == shape.FEATURES:
            found = ["x=$retval", *self._array()]
        elif self.point.detail in (shape.QUEUE, shape.QUEUE_NO_VECTOR):
            found = self._queue()
        return tuple(found)

    def _subject(self) -> list[str]:
        first, at = self.registers[0], self.at
        kind = self.point.subject
        if kind == shape.PCI_DEV:
            ids = _pair("po", first, at["pci_dev_vendor"], at["pci_dev_device"], 2)
            return [string("a", first, at["pci_dev_dev"] + at["device_name"], 0), *ids]
        if kind == shape.PLATFORM_DEVICE:
            return [string("a", first, at["platform_device_dev"] + at["device_name"], 0)]
        if kind == shape.VIRTIO_DEVICE:
            return [f"v={first}", *self._device(first, at["virtio_device_dev"])]
        if kind == shape.DEVICE:
            return [f"v={first}", *self._device(first, 0)]
        if kind == shape.DRIVER:
            return [string("r", first, at["driver_name"], 0)]
        if kind == shape.BUS_TYPE:
            return [string("n", first, at["bus_name"], 0)]
        return [string("n", first, at["module_name"])] if kind == shape.MODULE_STRUCT else []

    def _device(self, first: str, device: int) -> list[str]:
        """Of the struct device that is DEVICE bytes behind FIRST, and of what is around it."""
        at, name = self.at, self.point.name
        around = device - at["virtio_device_dev"]  # the struct virtio_device: before it, or at it
        found = []
        if self.whole or name in _ANNOUNCING:
            parent = device + at["device_parent"]
            found.append(string("a", first, parent, at["device_name"], 0))
        if self.whole or name == "register_virtio_device":
            found.append(string("b", first, parent, at["device_bus"], at["bus_name"], 0))
            ids = (around + at["virtio_device_id"], around + at["virtio_device_vendor"])
            found += _pair("de", first, *ids, 4)
        if self.whole:  # its name is there when its index is
            found.append(f"h={_signed(first, device + at['device_name'])}")
        if self.whole or self.point.detail in (shape.STATUS, shape.RESET):
            found.append(f"i={_signed(first, around + at['virtio_device_index'])}")
        if self.whole or name in ("virtio_dev_probe", "driver_features"):
            # "(fault)" where it has no driver
            driver = device + at["device_driver"]
            if not self.point.driver_second:
                found.append(string("r", first, driver, at["driver_name"], 0))
        return found

    def _detail(self) -> list[str]:
        second = self.registers[1]
        kind = self.point.detail
        if kind == shape.STATUS:
            return [f"s={second}", *self._agreed()]
        if kind == shape.RESET:
            return self._agreed()
        if kind == shape.COUNT:
            return [f"c={second}"]
        if kind in (shape.QUEUE, shape.QUEUE_NO_VECTOR):
            vector = [f"w={self.registers[5]}"] if kind == shape.QUEUE else []
            return [f"q={second}", string("n", self.registers[3], 0), *vector]
        if kind == shape.FEATURES:
            return self._extended()
        return self._tables() if kind == shape.TABLE else []

    def _agreed(self) -> list[str]:
        """The features of the device, one word or two."""
        at, first = self.at, self.registers[0]
        if not at["virtio_device_features"]:
            return []
        words = range(at["virtio_device_words"])
        starts = (at["virtio_device_features"] + 8 * word for word in words)
        return [f"{name}=+{start}({first})" for name, start in zip("fg", starts, strict=False)]

    def _extended(self) -> list[str]:
        """Not 0 where the transport gives features in an array, and returns nothing (since 6.17;
        include/linux/virtio_config.h)."""
        at, first = self.at, self.registers[0]
        if not at["config_extended"]:
            return []
        return [f"e={reach(first, at['virtio_device_config'], at['config_extended'])}"]

    def _array(self) -> list[str]:
        """That array. A kernel that has it takes ``$argN`` at a return (since 6.9), but of a module
        that is to come: there they are unknown."""
        if self.target.module or not self.at["config_extended"]:
            return []
        return ["f=+0($arg2)", "g=+8($arg2)"]

    def _queue(self) -> list[str]:
        """Of the virtqueue that was made; "(fault)" where that failed."""
        at = self.at
        if not at["queue_free"]:
            return []
        place = _pair("qz", "$retval", at["queue_index"], at["queue_free"], 4)
        return [*place, string("n", "$retval", at["queue_name"], 0)]

    def _tables(self) -> list[str]:
        """The driver's feature tables and their lengths; j, the legacy one's place, is 0 where it
        has none."""
        at, driver = self.at, reach(self.registers[0], self.at["device_driver"])
        if "driver_table" not in at:
            return []
        table, legacy = reach(driver, at["driver_table"]), reach(driver, at["driver_legacy"])
        return [
            f"t=+0({table}):u32[{TABLE_LENGTH}]",
            f"k={reach(driver, at['driver_table_size'])}",
            f"j={legacy}",
            f"u=+0({legacy}):u32[{TABLE_LENGTH}]",
            f"l={reach(driver, at['driver_legacy_size'])}",
        ]


def _signed(start: str, offset: int) -> str:
    return f"{offset:+d}({start})"


def _pair(names: str, start: str, first: int, second: int, size: int) -> list[str]:
    """Two numbers of SIZE bytes: in one argument where they lie side by side."""
    name, other = names[0], names[1]
    if second == first + size:
        return [f"{name}={_signed(start, first)}"]
    return [f"{name}={_signed(start, first)}", f"{other}={_signed(start, second)}"]
