# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed files. The output is bounded, whatever the input."""

from __future__ import annotations

from virtio_trace.kernel.files import compression

MEGABYTES = 768
WORDS = (
    b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\x1f\x8b\x08\0", b"BZh9", b"\x5d\0\0\x80\0",
    b"\x50\x2a\x4d\x18",
)  # fmt: skip
_LZ4 = b"\x02\x21\x4c\x18"
_LIMIT = 1 << 20


def one(data: bytes) -> None:
    if data.startswith(_LZ4):
        return  # runs the program lz4, which is slow to start
    out = compression.unpack(data, "fuzzed", _LIMIT)
    assert out == data or len(out) <= _LIMIT
