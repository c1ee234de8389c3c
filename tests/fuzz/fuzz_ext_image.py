# SPDX-License-Identifier: GPL-2.0-or-later
"""A small damaged ext2 image, read by debugfs."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from tests.fuzz import images
from virtio_trace.errors import VirtioTraceError
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.partitions import FileSystem

LONGEST = 512


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        image = images.patched(images.ext2(), data)
        (scratch / "disk.raw").write_bytes(image)
        ext = Ext("disk.raw", FileSystem(0, 0, len(image), "ext2"), scratch)
        _ = ext.unclean
        for path in (*list(ext.files("/"))[:5], "/short", "/long"):
            with contextlib.suppress(VirtioTraceError):
                ext.dump(path, scratch / "dumped")
