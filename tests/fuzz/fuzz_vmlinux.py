# SPDX-License-Identifier: GPL-2.0-or-later
"""An x86-64 kernel as memory: its segments, its symbols, and the drivers in it."""

from __future__ import annotations

from tests.fuzz.kernel import LAYOUT
from virtio_trace.kernel.drivers import in_image
from virtio_trace.kernel.files import kallsyms
from virtio_trace.kernel.files.vmlinux_memory import Image

LONGEST = 1 << 16
WORDS = (b"\x48\xc7\xc7", b"\x48\x8d\x3d", b"\xe8", b"\xe9", b"T_stext", b"\xff\xff\xff\xff\x80")


def one(data: bytes) -> None:
    image = Image(data, "fuzzed")
    for segment in image.segments[:16]:
        image.string_at(segment.address)
        image.bytes_at(segment.address + segment.size - 1, 16)
        image.is_code(segment.address)
        image.calls([segment.address, segment.address + 16])
    in_image.read(image, kallsyms.Kallsyms(image), LAYOUT, {})
