# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions of a kernel image, x86-64 or arm64, by what the image carries of its symbols."""

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


def functions(kernel: bytes, where: str) -> dict[str, list[int]]:
    """Name to addresses in the unpacked KERNEL (vmlinuz.payload); a static name may have several.

    Addresses are those for which the kernel was linked; of arm64 distances from its first byte.
    Raises BadInputError where they cannot be read.
    """
    image = Image(kernel, where) if kernel[:4] == b"\x7fELF" else _Flat(kernel, where)
    return Kallsyms(image).by_name
