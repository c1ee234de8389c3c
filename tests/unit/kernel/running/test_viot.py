# SPDX-License-Identifier: GPL-2.0-or-later
"""The IOMMU of each device, from ACPI's VIOT: QEMU's table, and damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from virtio_trace.kernel.running import viot

# /sys/firmware/acpi/tables/VIOT of QEMU 7.2: -machine q35 -device virtio-iommu-pci,addr=01.0
QEMU = bytes.fromhex(
    "56494f5458000000006642 4f43485320425850432020202001000000425850430100000002003000"
    "0000000000000000 03001000000008000000000000000000"
    "010018000000000000000000 0000ff003000000000000000".replace(" ", "")
)
HEADER, NODES = 36, 48
RANGE = NODES + 16


def changed(offset: int, layout: str, value: int) -> bytes:
    table = bytearray(QEMU)
    struct.pack_into(layout, table, offset, value)
    return bytes(table)


def test_the_table_of_qemu() -> None:
    assert len(QEMU) == 88
    assert viot.parse(QEMU) == [(range(1), range(0x100), "0000:00:01.0")]


@pytest.mark.parametrize(
    ("address", "iommu"),
    [
        ("0000:00:02.0", "0000:00:01.0"),
        ("0000:00:1f.7", "0000:00:01.0"),
        ("0000:00:01.0", None),  # the IOMMU itself
        ("0000:01:00.0", None),  # another bus: bdf 0x100
        ("0001:00:02.0", None),  # another segment
        ("virtio1", None),
        ("a003e00.virtio_mmio", None),
    ],
)
def test_which_devices_it_translates_for(address: str, iommu: str | None) -> None:
    assert viot.iommu_of(viot.parse(QEMU), address) == iommu


def test_an_iommu_in_another_segment() -> None:
    table = changed(NODES + 4, "<H", 0x12)
    table = table[: NODES + 6] + struct.pack("<H", 3 << 8 | 4 << 3 | 5) + table[NODES + 8 :]
    assert viot.iommu_of(viot.parse(table), "0000:00:02.0") == "0012:03:04.5"


@pytest.mark.parametrize(
    "table",
    [
        b"",
        QEMU[:HEADER],
        QEMU[:RANGE],  # the range is truncated
        QEMU[:-1],
        changed(NODES, "<B", 4),  # an IOMMU on MMIO
        changed(RANGE, "<B", 2),  # an endpoint on MMIO
        changed(RANGE + 16, "<H", 0x31),  # names no node
        changed(RANGE + 16, "<H", RANGE),  # names itself
        changed(NODES + 2, "<H", 0),  # a node without length
        changed(HEADER, "<H", 1),  # one node
        changed(HEADER + 2, "<H", 0xFFFF),
    ],
)
def test_tables_without_a_pci_device_and_a_pci_iommu(table: bytes) -> None:
    assert viot.parse(table) == []


def test_read(tmp_path: Path) -> None:
    assert viot.read(tmp_path) == []
    (tmp_path / "firmware/acpi/tables").mkdir(parents=True)
    (tmp_path / "firmware/acpi/tables/VIOT").write_bytes(QEMU)
    assert len(viot.read(tmp_path)) == 1
