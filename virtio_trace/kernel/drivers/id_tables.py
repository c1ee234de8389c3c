# SPDX-License-Identifier: GPL-2.0-or-later
"""Id tables of drivers. A function returns the bytes of entry N, None after the end."""

from __future__ import annotations

import struct
from collections.abc import Callable

MAX_IDS = 256
"""A table with more entries is taken for one without an end."""
VIRTIO_ID_SIZE = 8
"""sizeof(struct virtio_device_id) in bytes (include/linux/mod_devicetable.h)."""
PCI_ID_READ = 24
"""Bytes of a struct pci_device_id that are read: its first six numbers."""
_PCI_ANY_ID = 0xFFFFFFFF

Entry = Callable[[int], bytes | None]


def virtio_ids(entry: Entry) -> tuple[tuple[int, int], ...] | None:
    """struct virtio_device_id[] as (device, vendor) up to the entry of device 0
    (drivers/virtio/virtio.c, virtio_dev_match); None: no end."""
    out: list[tuple[int, int]] = []
    for i in range(MAX_IDS):
        raw = entry(i)
        if raw is None:
            return None
        device, vendor = struct.unpack("<II", raw)
        if not device:
            return tuple(out)
        out.append((device, vendor))
    return None


def pci_matches(entry: Entry) -> tuple[str, ...] | None:
    """struct pci_device_id[] as module aliases; the wildcards at an alias's end become one.

    scripts/mod/file2alias.c, do_pci_entry; drivers/pci/pci-driver.c, pci_match_id. None: no end.
    """
    out: list[str] = []
    for i in range(MAX_IDS):
        raw = entry(i)
        if raw is None:
            return None
        vendor, device, subvendor, subdevice, class_, mask = struct.unpack("<6I", raw)
        if not (vendor or subvendor or mask):
            return tuple(out)
        numbers = (("v", vendor), ("d", device), ("sv", subvendor), ("sd", subdevice))
        parts = [f"{k}{'*' if n == _PCI_ANY_ID else f'{n:08X}'}" for k, n in numbers]
        for key, shift in (("bc", 16), ("sc", 8), ("i", 0)):
            whole = mask >> shift & 0xFF == 0xFF
            parts.append(f"{key}{f'{class_ >> shift & 0xFF:02X}' if whole else '*'}")
        while len(parts) > 2 and parts[-1].endswith("*"):
            parts.pop()
        alias = "pci:" + "".join(parts)
        out.append(alias if alias.endswith("*") else alias + "*")
    return tuple(out)
