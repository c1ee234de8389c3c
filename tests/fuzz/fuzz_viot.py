# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI's table VIOT."""

from __future__ import annotations

from virtio_trace.kernel.running import viot

LONGEST = 1 << 12


def one(data: bytes) -> None:
    ranges = viot.parse(data)
    for address in ("0000:00:02.0", "", "::.", data.decode("latin-1")):
        viot.iommu_of(ranges, address)
