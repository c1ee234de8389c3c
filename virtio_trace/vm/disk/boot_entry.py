# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds what an image boots: the default entry of its boot loader, or else its newest kernel."""

from __future__ import annotations

import glob
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import bls, bootloader, uki
from virtio_trace.vm.disk.bootloader import BootEntry
from virtio_trace.vm.disk.volume import MOST_FILE, Volume

NO_LOADER = "its newest kernel: it has no boot loader's configuration"

_PLACES = ("/boot", "/")
"""The boot loader's folders: the file system may be the whole system, its /boot or its ESP."""

_GRUB = ("grub/grub.cfg", "grub2/grub.cfg")
_ENTRIES = "loader/entries"
_LOADER = "loader/loader.conf"
_UNIFIED = "EFI/Linux"
_FALLBACK = "EFI/BOOT/BOOTX64.EFI"
"""What firmware boots from a disk for which it has no entry (UEFI, 3.5.1.1)."""

_SYSTEMD_BOOT = "/EFI/systemd/systemd-bootx64.efi"

_MOST_ENTRIES = 1000
_MOST_UNIFIED = 32
"""Each is copied to read its name: they are large."""

_KERNEL = re.compile(r"vmlinu[zx]-(.+)")
_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}", "initrd-{}.img")


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """A boot entry, the file system and the folder of its configuration, and how it was found."""

    volume: Volume
    place: str
    entry: BootEntry
    by: str


def find(volumes: Sequence[Volume], scratch: Path) -> FoundEntry | None:
    """What an image with VOLUMES boots; None if it has no kernel. Folder SCRATCH is for copies.

    If its EFI system partition has systemd-boot, GRUB's configuration comes second.
    """
    if any(volume.is_file(_SYSTEMD_BOOT) for volume in volumes if volume.where.kind == "vfat"):
        configured = _specified(volumes, scratch) or _by_grub(volumes)
    else:
        configured = _by_grub(volumes) or _specified(volumes, scratch)
    return configured or _fallback(volumes, scratch) or _newest(volumes)


def _by_grub(volumes: Sequence[Volume]) -> FoundEntry | None:
    for volume, place in _places(volumes):
        for config in _GRUB:
            path = posixpath.join(place, config)
            if volume.is_file(path):
                environment = posixpath.join(posixpath.dirname(path), "grubenv")
                saved = volume.read(environment) if volume.is_file(environment) else ""
                entry = bootloader.grub(volume.read(path), saved)
                if entry is not None:
                    return FoundEntry(volume, place, entry, path)
    return None


def _specified(volumes: Sequence[Volume], scratch: Path) -> FoundEntry | None:
    """The default of all entries of the Boot Loader Specification: they may be in the EFI system
    partition and in an extended boot loader partition."""
    environment = _environment(volumes)
    found = [*_type1(volumes, environment), *_type2(volumes, scratch)]
    places = (
        (volume, posixpath.join(place, _LOADER)) for volume, place in _places(_esp_first(volumes))
    )
    saved = glob.escape((environment or {}).get("saved_entry", ""))
    loader = next(
        (volume.read(path) for volume, path in places if volume.is_file(path)), f"default {saved}\n"
    )
    chosen = bls.choose((candidate for candidate, _ in found), loader)
    return next((where for candidate, where in found if candidate is chosen), None)


def _environment(volumes: Sequence[Volume]) -> dict[str, str] | None:
    """The variables of GRUB, which reads such entries too (its command blscfg, in Fedora and its
    relatives): one has the default, others are in the options. None without GRUB."""
    for volume, place in _places(volumes):
        for config in _GRUB:
            path = posixpath.join(place, posixpath.dirname(config), "grubenv")
            if volume.is_file(path):
                return bootloader.variables(volume.read(path))
    return None


def _type1(
    volumes: Sequence[Volume], environment: dict[str, str] | None
) -> Iterator[tuple[bls.Candidate, FoundEntry]]:
    for volume, place in _places(volumes):
        folder = posixpath.join(place, _ENTRIES)
        names = [name for name in volume.names(folder) if name.lower().endswith(".conf")]
        for name in names[:_MOST_ENTRIES]:
            path = posixpath.join(folder, name)
            text = volume.read(path) if volume.is_file(path) else ""
            candidate = bls.type1(name, text, environment)
            if candidate is not None:
                yield candidate, FoundEntry(volume, place, candidate.entry, path)


def _type2(volumes: Sequence[Volume], scratch: Path) -> Iterator[tuple[bls.Candidate, FoundEntry]]:
    for volume, place in _places(volumes):
        folder = posixpath.join(place, _UNIFIED)
        names = [name for name in volume.names(folder) if name.lower().endswith(".efi")]
        if len(names) > _MOST_UNIFIED:
            raise BadInputError(f"{volume.where.name}: more than {_MOST_UNIFIED} files in {folder}")
        for name in names:
            path = posixpath.join(folder, name)
            release = _os_release(volume, path, scratch)
            if release is not None:
                candidate = bls.type2(name, path, release)
                yield candidate, FoundEntry(volume, place, candidate.entry, path)


def _fallback(volumes: Sequence[Volume], scratch: Path) -> FoundEntry | None:
    """A unified kernel image in place of a boot loader."""
    for volume in volumes:
        path = f"/{_FALLBACK}"
        release = _os_release(volume, path, scratch) if volume.is_file(path) else None
        if release is not None:
            entry = bls.type2(posixpath.basename(path), path, release).entry
            return FoundEntry(volume, "/", entry, path)
    return None


def _os_release(volume: Volume, path: str, scratch: Path) -> dict[str, str] | None:
    """See :func:`uki.os_release`. None for what is not a file."""
    if not volume.is_file(path):
        return None
    copy = volume.dump(path, scratch / "unified", MOST_FILE)
    try:
        return uki.os_release(copy) if uki.machine(copy) else None
    finally:
        copy.unlink()


def _newest(volumes: Sequence[Volume]) -> FoundEntry | None:
    """The newest kernel by its file's name, with the initrd of the same version."""
    kernels = [
        (bls.version_key(match[1]), match[1], posixpath.join(place, name), volume, place)
        for volume, place in _places(volumes)
        for name in volume.names(place)
        if (match := _KERNEL.fullmatch(name)) and volume.is_file(posixpath.join(place, name))
    ]
    if not kernels:
        return None
    _key, version, path, volume, place = max(kernels, key=lambda kernel: kernel[0])
    names = [posixpath.join(place, form.format(version)) for form in _INITRDS]
    initrds = tuple(name for name in names if volume.is_file(name))[:1]
    return FoundEntry(volume, place, BootEntry(version, path, initrds), NO_LOADER)


def _places(volumes: Sequence[Volume]) -> Iterator[tuple[Volume, str]]:
    return ((volume, place) for volume in volumes for place in _PLACES)


def _esp_first(volumes: Sequence[Volume]) -> list[Volume]:
    return sorted(volumes, key=lambda volume: volume.where.kind != "vfat")
