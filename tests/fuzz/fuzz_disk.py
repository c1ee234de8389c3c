# SPDX-License-Identifier: GPL-2.0-or-later
"""A small disk image, its partition table and file systems found by sfdisk and blkid."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzz import images
from virtio_trace.vm.disk import partitions

LONGEST = 2048
WORDS = (b"EFI PART", b"\x55\xaa", b"\x53\xef", b"XFSB", b"LVM2 001", b"LABELONE", b"hsqs")


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "disk.raw").write_bytes(images.patched(images.disk(), data))
        for found in partitions.file_systems("disk.raw", Path(folder)):
            assert found.offset >= 0 and found.size >= 0
