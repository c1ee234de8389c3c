# SPDX-License-Identifier: GPL-2.0-or-later
"""A small damaged FAT image, read by mtools."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from tests.fuzz import images
from virtio_trace.errors import VirtioTraceError
from virtio_trace.vm.disk.fat import Fat
from virtio_trace.vm.disk.partitions import FileSystem

LONGEST = 512


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        image = images.patched(images.fat(), data)
        (scratch / "disk.raw").write_bytes(image)
        volume = Fat("disk.raw", FileSystem(0, 0, len(image), "vfat"), scratch)
        for path in (*list(volume.files("/"))[:5], "/loader/loader.conf"):
            with contextlib.suppress(VirtioTraceError):
                assert volume.dump(path, scratch / "out/dumped", 1 << 20).stat().st_size <= 1 << 20
        assert {path.name for path in scratch.iterdir()} <= {"disk.raw", "out"}
