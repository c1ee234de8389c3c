# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI's Virtual I/O Translation table: which devices are behind which VirtIO IOMMU.

A device of it is not probed before its IOMMU has a driver, and no device link in sysfs says so
(drivers/acpi/viot.c, viot_iommu_configure; include/acpi/actbl3.h, struct acpi_table_viot).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = 36  # struct acpi_table_header
_COUNTS = struct.Struct("<HH")  # node_count, node_offset
_NODE = struct.Struct("<BxH")  # type, length
_PCI_RANGE = struct.Struct("<4xIHHHHH")  # endpoint, segments, bdfs, output node
_IOMMU_PCI = struct.Struct("<4xHH")  # segment, bdf
_TYPE_PCI_RANGE, _TYPE_IOMMU_PCI = 1, 3

Range = tuple[range, range, str]
"""PCI segments and, in each, the bus-device-function numbers that are behind an IOMMU's address."""


def read(sys: Path = Path("/sys")) -> list[Range]:
    """This machine's; none where there is no such table, or none that can be read."""
    try:
        return parse((sys / "firmware/acpi/tables/VIOT").read_bytes())
    except OSError:
        return []


def parse(table: bytes) -> list[Range]:
    """The PCI devices of TABLE that are behind an IOMMU on PCI; what is damaged is left out."""
    nodes = dict(_nodes(table))
    found = []
    for node in nodes.values():
        if node[0] != _TYPE_PCI_RANGE or len(node) < _PCI_RANGE.size:
            continue
        _, first, last, low, high, output = _PCI_RANGE.unpack_from(node)
        iommu = nodes.get(output, b"\0")
        if iommu[0] == _TYPE_IOMMU_PCI and len(iommu) >= _IOMMU_PCI.size:
            address = _address(*_IOMMU_PCI.unpack_from(iommu))
            found.append((range(first, last + 1), range(low, high + 1), address))
    return found


def iommu_of(ranges: list[Range], address: str) -> str | None:
    """The address of the IOMMU that the PCI device at ADDRESS (0000:00:02.0) is behind."""
    try:
        segment, bus, rest = address.split(":")
        slot, function = rest.split(".")
        number = int(bus, 16) << 8 | int(slot, 16) << 3 | int(function, 16)
        where = int(segment, 16)
    except ValueError:
        return None
    for segments, numbers, iommu in ranges:
        # The range of QEMU's table has the IOMMU itself in it; it waits for nobody.
        if where in segments and number in numbers and iommu != address:
            return iommu
    return None


def _nodes(table: bytes) -> Iterator[tuple[int, bytes]]:
    """Each node by its offset, by which the others name it."""
    if len(table) < _HEADER + _COUNTS.size:
        return
    count, place = _COUNTS.unpack_from(table, _HEADER)
    for _ in range(count):
        if place + _NODE.size > len(table):
            return
        _, length = _NODE.unpack_from(table, place)
        if length < _NODE.size or place + length > len(table):
            return
        yield place, table[place : place + length]
        place += length


def _address(segment: int, number: int) -> str:
    return f"{segment:04x}:{number >> 8:02x}:{number >> 3 & 0x1F:02x}.{number & 7}"
