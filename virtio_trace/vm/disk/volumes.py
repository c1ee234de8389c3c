# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the file systems of an image, and says of each one why nothing was booted from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import ext, fat, fstest
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.fat import Fat
from virtio_trace.vm.disk.fstest import GrubVolume
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import Volume
from virtio_trace.vm.host.programs import missing, need

_LATER = (
    "bcachefs", "crypto_LUKS", "linux_raid_member", "zfs_member", "erofs", "exfat",
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
    if any(place.kind in (*fstest.KINDS, fstest.LVM) for place in places):
        found += _by_grub(disk, places, scratch)
    return sorted(found, key=lambda volume: volume.where.offset)


def _by_grub(disk: str, places: Sequence[FileSystem], scratch: Path) -> list[Volume]:
    """The file systems that grub-fstest can read. It does not say that it cannot read one: that has
    no names. Logical volumes are where the first physical volume is."""
    if missing(fstest.TOOLS):
        return []
    found = [GrubVolume(disk, place, scratch) for place in places if place.kind in fstest.KINDS]
    first = next((place for place in places if place.kind == fstest.LVM), None)
    if first is not None:
        for device in fstest.logical_volumes(disk, scratch):
            where = replace(first, kind=device.replace("lvm/", "LVM ", 1))
            found.append(GrubVolume(disk, where, scratch, device))
    return [volume for volume in found if volume.names("/")]


def nothing(image: Path, places: Sequence[FileSystem], readable: Sequence[Volume]) -> BadInputError:
    """The error for an image without a kernel: it names each partition, and why it is not used.

    Raises CannotTraceError if mtools is missing that would read one.
    """
    if any(place.kind in fat.KINDS for place in places):
        need(fat.TOOLS)
    if not places:
        return BadInputError(f"{image}: its partition table is empty", "is it a whole disk image?")
    if not any(place.kind for place in places):
        names = ", ".join(place.name for place in places)
        return BadInputError(f"{image}: no file system in it: {names}", "is it a whole disk image?")
    opened = {volume.where.number for volume in readable}
    reasons = "; ".join(f"{one.name} {_reason(one, one.number in opened)}" for one in places)
    return BadInputError(f"{image}: nothing to boot: {reasons}", _HINT)


def _reason(place: FileSystem, is_open: bool) -> str:
    if is_open:
        what = "unified kernel image" if place.kind in fat.KINDS else "kernel"
        return f"has no boot loader entry and no {what}"
    if place.kind in (*fstest.KINDS, fstest.LVM):
        if missing(fstest.TOOLS):
            return "cannot be read without grub-fstest (apt install grub-common)"
        return "cannot be read by grub-fstest"
    if place.kind in _LATER:
        return "cannot be read"
    return "has no files"
