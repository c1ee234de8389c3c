# SPDX-License-Identifier: GPL-2.0-or-later
"""Extracts what a disk image boots: kernel, initrd, options, and the kernel's modules.

The boot loader's configuration says what that is; without one, it is the newest kernel. The image
is not changed. Messages name what it has that cannot be opened.

The image may be hostile: a name in its files never leads out of the scratch folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.vm.disk import bootloader, image_modules, partitions
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.disk.bootloader import BootEntry, version_key
from virtio_trace.vm.disk.ext import KINDS, Ext
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import MOST_FILE
from virtio_trace.vm.host.programs import Progress

_GRUB = ("grub/grub.cfg", "grub2/grub.cfg")
_ENTRIES = "loader/entries"
_PLACES = ("/boot", "/")
"""The boot loader's folders: the file system may be the whole system, or its /boot."""

_NO_LOADER = "its newest kernel: it has no boot loader's configuration"

_MOST_BLS = 1000
_MOST_INITRDS = 16
_MOST_KERNEL = 512 << 20
"""Bytes of a kernel."""

_KERNEL = re.compile(r"vmlinu[zx]-(.+)")
_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}", "initrd-{}.img")

_LATER = ("xfs", "btrfs", "f2fs", "LVM2_member", "crypto_LUKS", "linux_raid_member", "zfs_member")
"""File systems that may have a kernel and cannot be read."""


@dataclass(slots=True)
class ImageSystem:
    """The system of an image, extracted into a scratch folder. ``modules`` is a folder
    lib/modules/RELEASE with its lists and the files that may concern VirtIO; None if the image has
    none for this kernel. ``tree`` has etc/modprobe.d. ``notes`` are sentences for the user."""

    image: Disk
    title: str
    vmlinuz: Path
    initrds: tuple[Path, ...]
    options: str
    modules: Path | None
    tree: Path
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """A boot entry, and the file system and folder of its configuration."""

    ext: Ext
    place: str
    entry: BootEntry
    by: str


def extract_system(
    path: Path,
    append: str,
    scratch: Path,
    progress: Progress,
    backing: Sequence[Path] = (),
) -> ImageSystem:
    """Extracts the system of the image PATH into folder SCRATCH.

    APPEND is what the user adds to its kernel's options, BACKING the folders besides the image's
    own in which files that it names may be. Raises BadInputError if it has nothing to boot,
    UsageError if the user must name the root file system.
    """
    image = partitions.open_image(path, backing)
    name = partitions.raw(image, scratch, progress)
    what = f"reading {path.name}"
    progress(what, 0.0)
    places = partitions.file_systems(name, scratch)
    readable = [Ext(name, place, scratch) for place in places if place.kind in KINDS]
    found = _configured(readable) or _newest(readable)
    if found is None:
        raise _nothing(path, places)
    progress(what, 0.2)
    vmlinuz = _file(found, readable, found.entry.linux, scratch / "vmlinuz", _MOST_KERNEL)
    initrds = tuple(
        _file(found, readable, initrd, scratch / f"initrd-{number}", MOST_FILE)
        for number, initrd in enumerate(found.entry.initrds[:_MOST_INITRDS])
    )
    progress(what, 0.5)
    if not initrds:
        raise BadInputError(
            f"{path} has no initrd for {found.entry.linux}",
            "only a system that starts from an initrd can be traced; boot --modules for a kernel",
        )
    _need_root(path, found, append, readable)
    tree = scratch / "tree"
    notes = [f"{path.name} also reads {file}" for file in image.chain.files] if image.chain else []
    notes.append(f"{path.name} boots {found.entry.title}, by {found.by}")
    modules = image_modules.extract(readable, vmlinuz, tree, notes)
    notes += [
        f"{path.name}: {ext.where.name} was not unmounted: what is only in its journal is missing"
        for ext in readable
        if ext.unclean
    ]
    (scratch / name).unlink()  # it may be large, and is no longer needed
    progress(what, 1.0)
    return ImageSystem(
        image, found.entry.title, vmlinuz, initrds, found.entry.options, modules, tree, notes
    )


def _configured(readable: Sequence[Ext]) -> _Found | None:
    """The default entry of the first boot loader configuration that has one."""
    for ext in readable:
        for place in _PLACES:
            for config in _GRUB:
                path = posixpath.join(place, config)
                if ext.is_file(path):
                    environment = posixpath.join(posixpath.dirname(path), "grubenv")
                    saved = ext.read(environment) if ext.is_file(environment) else ""
                    entry = bootloader.grub(ext.read(path), saved)
                    if entry is not None:
                        return _Found(ext, place, entry, path)
            folder = posixpath.join(place, _ENTRIES)
            names = [name for name in ext.names(folder) if name.endswith(".conf")][:_MOST_BLS]
            texts = {name: ext.read(posixpath.join(folder, name)) for name in names}
            loader = posixpath.join(place, "loader/loader.conf")
            entry = bootloader.bls(texts, ext.read(loader) if ext.is_file(loader) else "")
            if entry is not None:
                return _Found(ext, place, entry, folder)
    return None


def _newest(readable: Sequence[Ext]) -> _Found | None:
    """The newest kernel by its file's name, with the initrd of the same version."""
    kernels = [
        (version_key(match[1]), match[1], posixpath.join(place, name), ext, place)
        for ext in readable
        for place in _PLACES
        for name in ext.names(place)
        if (match := _KERNEL.fullmatch(name)) and ext.is_file(posixpath.join(place, name))
    ]
    if not kernels:
        return None
    _key, version, path, ext, place = max(kernels, key=lambda kernel: kernel[0])
    names = [posixpath.join(place, form.format(version)) for form in _INITRDS]
    initrds = tuple(name for name in names if ext.is_file(name))[:1]
    return _Found(ext, place, BootEntry(version, path, initrds), _NO_LOADER)


def _file(found: _Found, readable: Sequence[Ext], path: str, target: Path, most: int) -> Path:
    """Dumps the file that an entry names: below its file system's root, or the boot folder."""
    path = re.sub(r"^\([^)]*\)", "", path)  # GRUB's name for a device, (hd0,gpt1)
    ways = ("/" + path.lstrip("/"), posixpath.join(found.place, path.lstrip("/")))
    for ext in (found.ext, *readable):
        for way in ways:
            if ext.is_file(way):
                return ext.dump(way, target, most)
    raise BadInputError(f"{found.by} names {path:.200}, which the image does not have")


def _need_root(image: Path, found: _Found, append: str, readable: Sequence[Ext]) -> None:
    """Without a boot loader's configuration the user must name the root file system."""
    if found.by != _NO_LOADER or re.search(r"(^|\s)root=", append):
        return
    ids = [ext.where.uuid for ext in readable if ext.is_folder("/etc") and ext.where.uuid]
    example = f"root=UUID={ids[0]}" if ids else "root=/dev/vda"
    raise UsageError(
        f"{image} has no boot loader's configuration: which file system is its root?",
        f"for example: --append {example}",
    )


def _nothing(image: Path, places: Sequence[FileSystem]) -> BadInputError:
    """The error for an image without a kernel: it names what the image has instead."""
    closed = [place.name for place in places if place.kind in _LATER]
    opened = [place.name for place in places if place.kind in KINDS]
    if closed:
        return BadInputError(
            f"{image}: no kernel in what can be opened; {', '.join(closed)} cannot be",
            "only ext2, ext3 and ext4 can be read; give its kernel and initrd: --kernel --initrd",
        )
    if opened:
        return BadInputError(
            f"{image}: no kernel in {', '.join(opened)}",
            "give a kernel and an initrd for it: boot --kernel VMLINUZ --initrd FILE",
        )
    there = ", ".join(place.name for place in places) or "an empty partition table"
    return BadInputError(f"{image}: no file system in it: {there}", "is it a whole disk image?")
