# SPDX-License-Identifier: GPL-2.0-or-later
"""The fetch arguments of kprobe events: what each event reads of its device, driver and queue.

``p:GROUP/NAME TARGET v=%di s=%si`` (Documentation/trace/kprobetrace.rst) reads registers and memory
at fixed offsets, without loops or conditions. So every event has a device's pointer, but only the
one at which the device is created has its address. ``text_decoder.py`` joins the two and drops the
pointers. Arguments are short for the kernel's command line: a letter each, and one argument for two
adjacent members. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.target import Target

Offsets = Mapping[str, int]
"""From struct_offsets.struct_offsets: bytes by names, those of struct vt_offsets and more."""

TABLE_LENGTH = 40
"""How many entries of a driver's feature table are fetched (virtio_net has 36 in Linux 7.3)."""


def reach(start: str, *offsets: int) -> str:
    """Follow pointers from START: read at the first offset, from there at the next, and so on."""
    for offset in offsets:
        start = f"+{offset}({start})"
    return start


def string(name: str, start: str, *offsets: int) -> str:
    """The argument NAME: the C string at the end of that chain."""
    return f"{name}={reach(start, *offsets)}:string"


class FetchArguments:
    """The fetch arguments of one point on one function; REGISTERS hold the first six arguments on
    its machine.

    WHOLE: every entry describes its device (see definitions()).
    """

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
        """Those of the entry."""
        found = self._subject()
        if self.point.arg2_driver:
            found.append(string("r", self.registers[1], self.at["driver_name"], 0))
        return (*found, *self._detail())

    def at_return(self) -> tuple[str, ...]:
        """Those of the return."""
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
        """Describes the struct device DEVICE bytes after FIRST, and the virtio_device around it."""
        at, name = self.at, self.point.name
        around = device - at["virtio_device_dev"]  # offset of the struct virtio_device
        found = []
        if self.whole or self.point.announces:
            parent = device + at["device_parent"]
            found.append(string("a", first, parent, at["device_name"], 0))
        if self.whole or name == "register_virtio_device":
            found.append(string("b", first, parent, at["device_bus"], at["bus_name"], 0))
            ids = (around + at["virtio_device_id"], around + at["virtio_device_vendor"])
            found += _pair("de", first, *ids, 4)
        if self.whole:  # whether it has a name, and thus an index
            found.append(f"h={_signed(first, device + at['device_name'])}")
        if self.whole or self.point.detail in (shape.STATUS, shape.RESET):
            found.append(f"i={_signed(first, around + at['virtio_device_index'])}")
        if self.whole or name in ("virtio_dev_probe", "driver_features"):
            # "(fault)" if it has no driver
            driver = device + at["device_driver"]
            if not self.point.arg2_driver:
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
        """The negotiated features: one word or two."""
        at, first = self.at, self.registers[0]
        if not at["virtio_device_features"]:
            return []
        words = range(at["virtio_device_words"])
        starts = (at["virtio_device_features"] + 8 * word for word in words)
        return [f"{name}=+{start}({first})" for name, start in zip("fg", starts, strict=False)]

    def _extended(self) -> list[str]:
        """Not 0 if the transport writes the features to an array and returns nothing (since Linux
        6.17; include/linux/virtio_config.h, get_extended_features)."""
        at, first = self.at, self.registers[0]
        if not at["config_extended"]:
            return []
        return [f"e={reach(first, at['virtio_device_config'], at['config_extended'])}"]

    def _array(self) -> list[str]:
        """That array. A kernel that has it accepts ``$argN`` at a return (since 6.9), but not in a
        module that is not loaded yet: there the features stay unknown."""
        if self.target.module or not self.at["config_extended"]:
            return []
        return ["f=+0($arg2)", "g=+8($arg2)"]

    def _queue(self) -> list[str]:
        """The new virtqueue; "(fault)" if there is none."""
        at = self.at
        if not at["queue_free"]:
            return []
        place = _pair("qz", "$retval", at["queue_index"], at["queue_free"], 4)
        return [*place, string("n", "$retval", at["queue_name"], 0)]

    def _tables(self) -> list[str]:
        """The driver's feature tables and their lengths; j, the address of the legacy table, is 0
        if it has none."""
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
    """Two numbers of SIZE bytes: one argument if they are adjacent."""
    name, other = names[0], names[1]
    if second == first + size:
        return [f"{name}={_signed(start, first)}"]
    return [f"{name}={_signed(start, first)}", f"{other}={_signed(start, second)}"]
