# SPDX-License-Identifier: GPL-2.0-or-later
"""Extracts what a disk image boots: kernel, initrd, options, and the kernel's modules.

The boot loader's configuration says what that is; without one, it is the newest kernel. What the
user gives replaces what the image has. The image is not changed. Messages name what it has that
cannot be opened.

The image may be hostile: a name in its files never leads out of the scratch folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.vm.disk import (
    boot_entry,
    discoverable,
    image_modules,
    initrd_modules,
    partitions,
    uki,
    volumes,
)
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.disk.boot_entry import FoundEntry
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import MOST_FILE, Volume
from virtio_trace.vm.host.programs import Progress

_MOST_INITRDS = 16
_MOST_KERNEL = 512 << 20
"""Bytes of a kernel."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gives in place of what the image has. ``options`` are those of a unified kernel
    image; None: the image's."""

    vmlinuz: Path | None = None
    initrds: tuple[Path, ...] = ()
    options: str | None = None
    modules: Path | None = None


@dataclass(slots=True)
class ImageSystem:
    """The system of an image, extracted into a scratch folder. ``modules`` is a folder
    lib/modules/RELEASE with its lists and the files that may concern VirtIO; None if neither the
    image nor the initrd has any for this kernel. ``only_initrd``: they are the initrd's. ``tree``
    has etc/modprobe.d. ``notes`` are sentences for the user."""

    image: Disk
    title: str
    vmlinuz: Path
    initrds: tuple[Path, ...]
    options: str
    modules: Path | None
    tree: Path
    notes: list[str] = field(default_factory=list)
    only_initrd: bool = False


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is booted, and the title of the image's entry."""

    title: str
    vmlinuz: Path
    initrds: tuple[Path, ...]
    options: str


@dataclass(frozen=True, slots=True)
class _Opened:
    """The image, its file systems, and those of them that can be read."""

    path: Path
    places: Sequence[FileSystem]
    readable: Sequence[Volume]


def extract_system(
    path: Path,
    append: str,
    scratch: Path,
    progress: Progress,
    *,
    backing: Sequence[Path] = (),
    given: Given = Given(),
) -> ImageSystem:
    """Extracts the system of the image PATH into folder SCRATCH.

    APPEND is what the user adds to its kernel's options, BACKING the folders besides the image's
    own in which files that it names may be. Raises BadInputError if it has nothing to boot,
    UsageError if the user must name the root file system, CannotTraceError if a program is missing.
    """
    image = partitions.open_image(path, backing)
    name = partitions.raw(image, scratch, progress)
    what = f"reading {path.name}"
    progress(what, 0.0)
    places = partitions.file_systems(name, scratch)
    readable = volumes.opened(name, places, scratch)
    found = boot_entry.find(readable, scratch)
    if found is None and not (given.vmlinuz and given.initrds):
        raise volumes.nothing(path, places, readable)
    progress(what, 0.2)
    parts = _parts(found, readable, scratch, given)
    progress(what, 0.5)
    if not parts.initrds:
        raise BadInputError(
            f"{path} has no initrd for {found.entry.linux if found else parts.vmlinuz.name}",
            "only a system that starts from an initrd can be traced; boot --modules for a kernel",
        )
    notes = [f"{path.name} also reads {file}" for file in image.chain.files] if image.chain else []
    notes.append(_booted(path.name, parts.title, found, given))
    opened = _Opened(path, places, readable)
    options, note = _with_root(opened, found, parts.options, append)
    notes += [note] if note else []
    system = ImageSystem(
        image, parts.title, parts.vmlinuz, parts.initrds, options, None, scratch / "tree", notes
    )
    _modules(system, readable, given.modules, scratch, progress)
    notes += [
        f"{path.name}: {one.where.name} was not unmounted: what is only in its journal is missing"
        for one in readable
        if one.unclean
    ]
    (scratch / name).unlink()  # it may be large, and is no longer needed
    progress(what, 1.0)
    return system


def _parts(
    found: FoundEntry | None, readable: Sequence[Volume], scratch: Path, given: Given
) -> _Parts:
    """What FOUND boots, copied out of the image, except for what is GIVEN."""
    vmlinuz, initrds, options = given.vmlinuz, given.initrds, given.options
    title = found.entry.title if found else "the kernel given"
    if found is not None and found.entry.unified and not (vmlinuz and initrds):
        file = _file(found, readable, found.entry.unified, scratch / "unified", MOST_FILE)
        unified = uki.extract(file, scratch)
        file.unlink()
        more = [
            _file(found, readable, path, scratch / f"initrd-{number}", MOST_FILE)
            for number, path in enumerate(found.entry.initrds[:_MOST_INITRDS])
        ]
        vmlinuz = vmlinuz or unified.vmlinuz
        initrds = initrds or (*unified.initrds, *more)
        theirs = found.entry.options or unified.options
    elif found is not None:
        linux = found.entry.linux
        vmlinuz = vmlinuz or _file(found, readable, linux, scratch / "vmlinuz", _MOST_KERNEL)
        initrds = initrds or tuple(
            _file(found, readable, initrd, scratch / f"initrd-{number}", MOST_FILE)
            for number, initrd in enumerate(found.entry.initrds[:_MOST_INITRDS])
        )
        theirs = found.entry.options
    else:
        theirs = ""
    assert vmlinuz is not None
    return _Parts(title, vmlinuz, initrds, theirs if options is None else options)


def _file(
    found: FoundEntry, readable: Sequence[Volume], path: str, target: Path, most: int
) -> Path:
    """Dumps the file that an entry names: below its file system's root, or the boot folder."""
    path = re.sub(r"^\([^)]*\)", "", path)  # GRUB's name for a device, (hd0,gpt1)
    ways = ("/" + path.lstrip("/"), posixpath.join(found.place, path.lstrip("/")))
    for volume in (found.volume, *readable):
        for way in ways:
            if volume.is_file(way):
                return volume.dump(way, target, most)
    raise BadInputError(f"{found.by} names {path:.200}, which the image does not have")


def _booted(name: str, title: str, found: FoundEntry | None, given: Given) -> str:
    """The sentence that says what is booted."""
    if found is None:
        return f"{name} is booted by the kernel and the initrd given"
    ours = [word for word, there in (("kernel", given.vmlinuz), ("initrd", given.initrds)) if there]
    replaced = f", with the {' and the '.join(ours)} given" if ours else ""
    return f"{name} boots {title}, by {found.by}{replaced}"


def _with_root(
    opened: _Opened, found: FoundEntry | None, options: str, append: str
) -> tuple[str, str]:
    """OPTIONS, with the root file system; and a sentence on how it was found, or that it was not.

    Raises UsageError where nothing says which one it is and no boot loader left it out.
    """
    path = opened.path
    if discoverable.names_root(f"{options} {append}"):
        return options, ""
    more = discoverable.root_options(opened.places, f"{options} {append}", path)
    if more:
        note = f"{path.name}: {more} is added: the partition's type says that it is the root"
        return f"{options} {more}".strip(), note
    if found is not None and found.by != boot_entry.NO_LOADER:
        note = (
            f"{path.name}: its kernel's options have no root=, and no partition has the type of a "
            "root: its initrd must know it"
        )
        return options, note
    roots = [one.where.uuid for one in opened.readable if one.is_folder("/etc")]
    example = next((f"root=UUID={uuid}" for uuid in roots if uuid), "root=/dev/vda")
    raise UsageError(
        f"{path} has no boot loader's configuration: which file system is its root?",
        f"for example: --append {example}",
    )


def _modules(
    system: ImageSystem,
    readable: Sequence[Volume],
    given: Path | None,
    scratch: Path,
    progress: Progress,
) -> None:
    """Finds the kernel's modules: those GIVEN, the image's, or else the initrd's."""
    image_modules.configuration(readable, system.tree)
    system.modules = given or image_modules.extract(readable, system.vmlinuz, system.tree)
    if system.modules is not None:
        return
    release = image_modules.release(system.vmlinuz)
    system.notes.append(
        f"the image has no modules of {release or 'its kernel'}: "
        "what is not in its initrd is unknown"
    )
    system.only_initrd = True
    initrds = list(system.initrds)
    system.modules = initrd_modules.extract(
        initrds, release or None, scratch / "from-initrd", progress, system.notes
    )
