# SPDX-License-Identifier: GPL-2.0-or-later
"""The head of a disk image that may name other files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from virtio_trace.vm.disk import chain

WORDS = (
    b"QFI\xfb",
    b"QED\0",
    b"KDMV",
    b"version=1\n",
    b'RW 1 FLAT "base" 0',
    b"/etc/passwd",
    b"../",
)


def one(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        image, base = Path(folder).resolve() / "disk", Path(folder).resolve() / "base"
        image.write_bytes(data)
        base.write_bytes(b"raw")
        found = chain.read(image)
        assert set(found.files) <= {image, base}
