# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI's Virtual I/O Translation table: which devices a VirtIO IOMMU translates for.

Such a device is not probed before its IOMMU has a driver, and sysfs has no device link for it
(drivers/acpi/viot.c, viot_iommu_configure; include/acpi/actbl3.h, struct acpi_table_viot).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from virtio_trace.kernel.running import sysfs

_HEADER = 36  # struct acpi_table_header
_COUNTS = struct.Struct("<HH")  # node_count, node_offset
_NODE = struct.Struct("<BxH")  # type, length
_PCI_RANGE = struct.Struct("<4xIHHHHH")  # endpoint, segments, bdfs, output node
_IOMMU_PCI = struct.Struct("<4xHH")  # segment, bdf
_TYPE_PCI_RANGE, _TYPE_IOMMU_PCI = 1, 3
_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")

Range = tuple[range, range, str]
"""PCI segments, the bus-device-function numbers in each, and the address of their IOMMU."""


def read(sys: Path = Path("/sys")) -> list[Range]:
    """This machine's ranges; [] where the table is missing or cannot be read."""
    return parse(sysfs.data(sys / "firmware/acpi/tables/VIOT") or b"")


def parse(table: bytes) -> list[Range]:
    """The PCI devices of TABLE whose IOMMU is on PCI; damaged nodes are left out."""
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
    """The address of the IOMMU of the PCI device at ADDRESS (0000:00:02.0); None: it has none."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return None
    where, bus, slot, function = (int(digits, 16) for digits in match.groups())
    number = bus << 8 | slot << 3 | function
    for segments, numbers, iommu in ranges:
        # The range in QEMU's table includes the IOMMU itself, which waits for nothing.
        if where in segments and number in numbers and iommu != address:
            return iommu
    return None


def _nodes(table: bytes) -> Iterator[tuple[int, bytes]]:
    """Each node with its offset, by which other nodes refer to it."""
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
