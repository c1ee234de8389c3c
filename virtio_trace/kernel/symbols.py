# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbols of a kernel image, x86-64 or arm64, by what the image carries of its symbols."""

from __future__ import annotations

from virtio_trace.kernel.image import Image, Segment
from virtio_trace.kernel.kallsyms import Kallsyms


class _Flat(Image):
    """An arm64 Image: memory from its first byte on (Documentation/arch/arm64/booting.rst). Its
    addresses are distances from there, as it gets its own when it starts."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.segments = self.text = [Segment(0, 0, len(data), len(data))]
        self._starts = [0]


def read(kernel: bytes, where: str) -> Kallsyms:
    """The symbols of the unpacked KERNEL (vmlinuz.payload).

    Addresses are those for which the kernel was linked; of arm64 distances from its first byte.
    Raises BadInputError where they cannot be read.
    """
    return Kallsyms(Image(kernel, where) if kernel[:4] == b"\x7fELF" else _Flat(kernel, where))
