# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes out of a disk image what it boots: kernel, initrd, options, and its kernel's modules.

By its boot loader's configuration; without one, the newest kernel there is. Nothing is changed in
the image, and what it has that cannot be opened is said.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.disk import bootloader, partitions
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.disk.bootloader import BootEntry, version_key
from virtio_trace.vm.disk.ext import KINDS, Ext
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.host.programs import Progress

_GRUB = ("grub/grub.cfg", "grub2/grub.cfg")
_ENTRIES = "loader/entries"
_PLACES = ("/boot", "/")
"""Where a file system has the boot loader's files: it may be the whole, or /boot of its own."""

_NO_LOADER = "its newest kernel: it has no boot loader's configuration"

_KERNEL = re.compile(r"vmlinu[zx]-(.+)")
_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}", "initrd-{}.img")

_LATER = ("xfs", "btrfs", "f2fs", "LVM2_member", "crypto_LUKS", "linux_raid_member", "zfs_member")
"""What may well have a kernel, and is not ext4."""


@dataclass(slots=True)
class System:
    """What was taken out of an image, as files in a scratch folder. ``modules`` is a folder
    lib/modules/RELEASE with its lists and the files that may concern VirtIO; None where the image
    has none for this kernel. ``tree`` has etc/modprobe.d. ``notes`` are sentences for the user."""

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
    """A boot entry, and the file system and folder in which its configuration is."""

    ext: Ext
    place: str
    entry: BootEntry
    by: str


def extract_system(path: Path, append: str, scratch: Path, progress: Progress) -> System:
    """Takes the system of the image PATH out into folder SCRATCH.

    APPEND is what the user adds to its kernel's options. Raises BadInputError where nothing that
    can be booted is found, UsageError where the root file system must be named.
    """
    image = Disk(path.resolve(), partitions.format_of(path))
    name = partitions.raw(path, image.format, scratch, progress)
    what = f"reading {path.name}"
    progress(what, 0.0)
    places = partitions.file_systems(name, scratch)
    readable = [Ext(name, place, scratch) for place in places if place.kind in KINDS]
    found = _configured(readable) or _newest(readable)
    if found is None:
        raise _nothing(path, places)
    progress(what, 0.2)
    vmlinuz = _file(found, readable, found.entry.linux, scratch / "vmlinuz")
    initrds = tuple(
        _file(found, readable, initrd, scratch / f"initrd-{number}")
        for number, initrd in enumerate(found.entry.initrds)
    )
    progress(what, 0.5)
    if not initrds:
        raise BadInputError(
            f"{path} has no initrd for {found.entry.linux}",
            "only a system that starts from an initrd can be traced; boot --modules for a kernel",
        )
    _need_root(path, found, append, readable)
    tree = scratch / "tree"
    notes = [f"{path.name} boots {found.entry.title}, by {found.by}"]
    modules = _modules(readable, vmlinuz, tree, notes)
    notes += [
        f"{path.name}: {ext.where.name} was not unmounted: what only its journal has is not seen"
        for ext in readable
        if ext.unclean
    ]
    (scratch / name).unlink()  # it may be large, and all is out of it
    progress(what, 1.0)
    return System(
        image, found.entry.title, vmlinuz, initrds, found.entry.options, modules, tree, notes
    )


def _configured(readable: Sequence[Ext]) -> _Found | None:
    """The default entry of the first boot loader's configuration that has one."""
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
            names = [name for name in ext.names(folder) if name.endswith(".conf")]
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


def _file(found: _Found, readable: Sequence[Ext], path: str, target: Path) -> Path:
    """The file that an entry names: from its own file system's root, or from the boot folder."""
    path = re.sub(r"^\([^)]*\)", "", path)  # GRUB's name for a device, (hd0,gpt1)
    ways = ("/" + path.lstrip("/"), posixpath.join(found.place, path.lstrip("/")))
    for ext in (found.ext, *readable):
        for way in ways:
            if ext.is_file(way):
                return ext.dump(way, target)
    raise BadInputError(f"{found.by} names {path}, which the image does not have")


def _need_root(image: Path, found: _Found, append: str, readable: Sequence[Ext]) -> None:
    """A boot loader says which root the kernel is given; where there is none, the user must."""
    if found.by != _NO_LOADER or re.search(r"(^|\s)root=", append):
        return
    ids = [ext.where.uuid for ext in readable if ext.is_folder("/etc") and ext.where.uuid]
    example = f"root=UUID={ids[0]}" if ids else "root=/dev/vda"
    raise UsageError(
        f"{image} has no boot loader's configuration: which file system is its root?",
        f"for example: --append {example}",
    )


def _modules(readable: Sequence[Ext], vmlinuz: Path, tree: Path, notes: list[str]) -> Path | None:
    """The kernel's module folder: its lists, and the files that may concern VirtIO."""
    name = release(vmlinuz)
    for ext in readable:
        for base in ("/usr/lib/modules", "/lib/modules"):
            source = posixpath.join(base, name)
            if name and ext.is_folder(source):
                _configuration(ext, tree)
                return _dump_modules(ext, source, tree / "lib/modules" / name)
    notes.append(
        f"no modules of {name or 'its kernel'} were found in the image: "
        "what is not in its initrd is unknown"
    )
    return None


def _dump_modules(ext: Ext, source: str, target: Path) -> Path:
    for name in ext.names(source):
        if name.startswith("modules.") and ext.is_file(f"{source}/{name}"):
            ext.dump(f"{source}/{name}", target / name)
    if (target / "modules.dep").exists():
        files = ModuleTree(target).virtio_candidates()
    else:
        files = tuple(posixpath.relpath(path, source) for path in ext.files(source))
    (target / "kernel").mkdir(parents=True, exist_ok=True)
    for file in files:
        if ext.is_file(f"{source}/{file}"):
            ext.dump(f"{source}/{file}", target / file)
    return target


def _configuration(ext: Ext, tree: Path) -> None:
    """What keeps modules from being loaded (modprobe.d(5))."""
    for folder in ("etc/modprobe.d", "usr/lib/modprobe.d", "usr/local/lib/modprobe.d"):
        for path in ext.files(f"/{folder}"):
            ext.dump(path, tree / path.lstrip("/"))


def release(vmlinuz: Path) -> str:
    """The release that an x86 kernel image says it has (Documentation/arch/x86/boot.rst,
    kernel_version); "" where it says none."""
    with vmlinuz.open("rb") as file:
        head = file.read(0x10000)
    at = int.from_bytes(head[0x20E:0x210], "little")
    text = head[at + 0x200 : at + 0x200 + 256].split(b"\0", 1)[0] if at else b""
    words = text.decode("ascii", "replace").split()
    return words[0] if words and "/" not in words[0] else ""


def _nothing(image: Path, places: Sequence[FileSystem]) -> BadInputError:
    """No kernel: what is there instead, and what of that cannot be opened."""
    closed = [place.name for place in places if place.kind in _LATER]
    opened = [place.name for place in places if place.kind in KINDS]
    if closed:
        return BadInputError(
            f"{image}: no kernel in what can be opened; {', '.join(closed)} cannot be",
            "only ext2, ext3 and ext4 are read; take its kernel and initrd: boot --kernel --initrd",
        )
    if opened:
        return BadInputError(
            f"{image}: no kernel in {', '.join(opened)}",
            "give a kernel and an initrd for it: boot --kernel VMLINUZ --initrd FILE",
        )
    there = ", ".join(place.name for place in places) or "an empty partition table"
    return BadInputError(f"{image}: no file system is in it: {there}", "is it a whole disk image?")
