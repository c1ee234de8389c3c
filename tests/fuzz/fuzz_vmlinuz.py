# SPDX-License-Identifier: GPL-2.0-or-later
"""A packed kernel image: a bzImage, an EFI zboot image, an Image.gz."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from virtio_trace.errors import VirtioTraceError
from virtio_trace.kernel.files import vmlinuz

MEGABYTES = 3072
"""An unpacked kernel may have 1 GB, and is in memory twice while it is searched."""
WORDS = (
    b"HdrS", b"zimg", b"ARM\x64", b"\x7fELF", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"BZh9", b"\x5d\0\0",
    b"\x28\xb5\x2f\xfd", b"Linux version 6.1.0 (", b"\x9f\xeb\x01\0\x18\0\0\0",
)  # fmt: skip
_LZ4 = b"\x02\x21\x4c\x18"


def one(data: bytes) -> None:
    if _LZ4 in data:
        return  # runs the program lz4, which is slow to start
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(VirtioTraceError):
            vmlinuz.types(Path(file.name))
    try:
        vmlinuz.payload(data, "fuzzed")
    finally:
        vmlinuz.btf_bytes(data, "fuzzed")
