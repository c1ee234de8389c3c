# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machine a guest must be for a kernel, and QEMU's options for the recording's port.

The recording leaves the guest through a serial port that no virtio driver serves. Where the board
has one port only, a PCI card has it, in the highest slot that the user's options do not name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files.compression import read_file
from virtio_trace.kernel.files.machine import IMAGE_HEAD, Machine, of_image
from virtio_trace.kernel.files.vmlinuz import payload

_SLOTS = 32
_ADDRESS = re.compile(r"\baddr=(?:0x)?([0-9a-fA-F]{1,2})\b")


def of_kernel(vmlinuz: Path) -> Machine:
    """The machine that a kernel image is for, by the image itself, or by the one that it wraps.

    Raises BadInputError where QEMU does not start such a file, CannotTraceError where a program to
    unpack it is missing.
    """
    head = _head(vmlinuz)
    if _is_wrapped(head):
        inner = payload(read_file(vmlinuz), str(vmlinuz))
        wrapped = of_image(inner[:IMAGE_HEAD])
        found = wrapped if wrapped and wrapped.image_flat else None
    else:
        found = of_image(head)
    if found is None:
        raise BadInputError(
            f"{vmlinuz} is not a kernel image that QEMU starts (an x86 bzImage, an arm64 Image)",
            "give the vmlinuz of a package",
        )
    return found


def is_packed(vmlinuz: Path) -> bool:
    """Whether it must be unpacked for QEMU: an Image.gz, or an EFI zboot image.

    Raises BadInputError where it cannot be read.
    """
    return _is_wrapped(_head(vmlinuz))


def channel_options(machine: Machine, options: Sequence[str]) -> list[str]:
    """QEMU's options for the recording's port of MACHINE, beside a user's OPTIONS."""
    slot = f"{_free_slot(options):02x}"
    return [word.replace("{slot}", slot) for word in machine.channel]


def _is_wrapped(head: bytes) -> bool:
    """Whether a file with this HEAD wraps a flat image.

    Image.gz is plain gzip; EFI zboot is drivers/firmware/efi/libstub/zboot-header.S.
    """
    return head[:2] == b"\x1f\x8b" or (head[:2] == b"MZ" and head[4:8] == b"zimg")


def _head(vmlinuz: Path) -> bytes:
    try:
        with vmlinuz.open("rb") as file:
            return file.read(IMAGE_HEAD)
    except OSError as error:
        raise BadInputError(f"{vmlinuz}: {error.strerror}", "name a readable vmlinuz") from error


def _free_slot(options: Sequence[str]) -> int:
    """The highest slot of the first PCI bus that OPTIONS do not name."""
    named = {int(found, 16) for option in options for found in _ADDRESS.findall(option)}
    return max(set(range(1, _SLOTS)) - named, default=_SLOTS - 1)
