# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the file systems of an image, and says of each one why nothing was booted from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import ext, fat
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.fat import Fat
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import Volume
from virtio_trace.vm.host.programs import missing

_LATER = (
    "xfs", "btrfs", "f2fs", "bcachefs", "LVM2_member", "crypto_LUKS", "linux_raid_member",
    "zfs_member", "squashfs", "erofs", "exfat", "ntfs", "iso9660", "udf",
)  # fmt: skip
"""File systems that may have a kernel and cannot be read."""

_HINT = "give a kernel and an initrd for it: boot --image DISK --kernel VMLINUZ --initrd FILE"


def opened(disk: str, places: Sequence[FileSystem], scratch: Path) -> list[Volume]:
    """Those of the file systems PLACES of the image DISK, a name in folder SCRATCH, that can be
    read. FAT is left out where mtools is not installed."""
    found: list[Volume] = []
    for place in places:
        if place.kind in ext.KINDS:
            found.append(Ext(disk, place, scratch))
        elif place.kind in fat.KINDS and not missing(fat.TOOLS):
            found.append(Fat(disk, place, scratch))
    return found


def nothing(image: Path, places: Sequence[FileSystem]) -> BadInputError:
    """The error for an image without a kernel: it names each partition, and why it is not used."""
    if not places:
        return BadInputError(f"{image}: its partition table is empty", "is it a whole disk image?")
    if not any(place.kind for place in places):
        names = ", ".join(place.name for place in places)
        return BadInputError(f"{image}: no file system in it: {names}", "is it a whole disk image?")
    reasons = "; ".join(f"{place.name} {_reason(place)}" for place in places)
    return BadInputError(f"{image}: nothing to boot: {reasons}", _HINT)


def _reason(place: FileSystem) -> str:
    if place.kind in fat.KINDS:
        return "has no boot loader entry and no unified kernel image"
    if place.kind in ext.KINDS:
        return "has no boot loader entry and no kernel"
    if place.kind in _LATER:
        return "cannot be read: only ext2, ext3, ext4 and FAT can"
    return "has no files"
