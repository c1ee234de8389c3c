# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the file systems of an image, and says of each one why nothing was booted from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import ext, fat, fstest
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.fat import Fat
from virtio_trace.vm.disk.fstest import GrubVolume
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import Volume
from virtio_trace.vm.host.programs import missing

_LATER = (
    "bcachefs", "LVM2_member", "crypto_LUKS", "linux_raid_member", "zfs_member", "erofs", "exfat",
    "ntfs", "iso9660", "udf",
)  # fmt: skip
"""File systems that may have a kernel and cannot be read."""

_HINT = "give a kernel and an initrd for it: boot --image DISK --kernel VMLINUZ --initrd FILE"


def opened(disk: str, places: Sequence[FileSystem], scratch: Path) -> list[Volume]:
    """Those of the file systems PLACES of the image DISK, a name in folder SCRATCH, that can be
    read. Those whose program is not installed are left out."""
    found: list[Volume] = []
    for place in places:
        if place.kind in ext.KINDS:
            found.append(Ext(disk, place, scratch))
        elif place.kind in fat.KINDS and not missing(fat.TOOLS):
            found.append(Fat(disk, place, scratch))
        elif place.kind in fstest.KINDS and not missing(fstest.TOOLS):
            volume = GrubVolume(disk, place, scratch)
            if volume.names("/"):  # grub-fstest does not say that it cannot read one
                found.append(volume)
    return found


def nothing(image: Path, places: Sequence[FileSystem], readable: Sequence[Volume]) -> BadInputError:
    """The error for an image without a kernel: it names each partition, and why it is not used."""
    if not places:
        return BadInputError(f"{image}: its partition table is empty", "is it a whole disk image?")
    if not any(place.kind for place in places):
        names = ", ".join(place.name for place in places)
        return BadInputError(f"{image}: no file system in it: {names}", "is it a whole disk image?")
    opened = [volume.where for volume in readable]
    reasons = "; ".join(f"{place.name} {_reason(place, place in opened)}" for place in places)
    return BadInputError(f"{image}: nothing to boot: {reasons}", _HINT)


def _reason(place: FileSystem, is_open: bool) -> str:
    if is_open:
        what = "unified kernel image" if place.kind in fat.KINDS else "kernel"
        return f"has no boot loader entry and no {what}"
    if place.kind in fstest.KINDS:
        if missing(fstest.TOOLS):
            return "cannot be read without grub-fstest (apt install grub-common)"
        return "cannot be read by grub-fstest"
    if place.kind in _LATER:
        return "cannot be read"
    return "has no files"
