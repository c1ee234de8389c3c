# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads xfs, btrfs, f2fs, squashfs and what is on LVM in a disk image, with grub-fstest of GRUB.

grub-fstest has GRUB's own readers of file systems, as a program that needs neither root nor a
mount. It writes nothing to the image. What is only in the log of xfs is missing.

The image may be hostile. Sizes are checked before a file is copied, and while it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import MOST_ENTRIES, MOST_FILE, Allowance, read_text
from virtio_trace.vm.host.children import Limits
from virtio_trace.vm.host.programs import ProgramLimitError, error_line, no_room, run

KINDS = ("xfs", "btrfs", "f2fs", "squashfs")

TOOLS = ("grub-fstest",)
"""The program that reading one of KINDS needs."""

LVM = "LVM2_member"
"""blkid's name for a physical volume of LVM."""

_SUBVOLUMES = ("/@rootfs", "/@", "/root", "/@root")
"""Where the root is in a btrfs: Debian's, Ubuntu's and Fedora's installers, and mkosi."""

_LISTING = Limits(seconds=60, output=32 << 20)
_COPYING = Limits(seconds=600)
_MOST_FOLDERS = 5000
"""Each is listed by a process."""

_DEEPEST = 32
_ENTRY = re.compile(r"(DIR|[0-9]{1,20}) +[0-9]{14} ([^/]+)(/?)")
_LOGICAL = re.compile(r"\((lvm/[A-Za-z0-9+_.-]{1,255})\)")
_MOST_LOGICAL = 64
_REFUSED = re.compile(r"[\x00-\x1f\x7f\ufffd\\]")


class GrubVolume:
    """The file system WHERE of the image DISK, a file name in folder SCRATCH.

    DEVICE is GRUB's name for it, if it is not that of a partition.

    Paths begin with a slash and are inside of it, or of the subvolume that has the system. Symbolic
    links are followed, but those to folders are not listed.
    """

    unclean = False

    def __init__(self, disk: str, where: FileSystem, scratch: Path, device: str = "") -> None:
        self.where = where
        table = "gpt" if where.partition and where.partition.uuid else "msdos"
        self._device = device or (f"loop0,{table}{where.number}" if where.number else "loop0")
        self._disk = disk
        self._scratch = scratch
        self._folders: dict[str, dict[str, int | None]] = {}
        self._entries = 0
        self._allowance = Allowance(where.name, scratch)

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; [] if there is no such folder."""
        return sorted(self._list(self._inside(path)))

    def is_folder(self, path: str) -> bool:
        """Whether PATH leads to a folder that is not empty."""
        return bool(self._list(self._inside(path)))

    def is_file(self, path: str) -> bool:
        """Whether PATH leads to a regular file."""
        return self._size(path) is not None

    def files(self, path: str) -> Iterator[str]:
        """The paths of the files below a folder."""
        waiting = [(path, 0)]
        while waiting:
            here, depth = waiting.pop()
            for name, size in sorted(self._list(self._inside(here)).items()):
                below = posixpath.join(here, name)
                if size is not None:
                    yield below
                elif depth < _DEEPEST:
                    waiting.append((below, depth + 1))

    def dump(self, path: str, target: Path, most: int = MOST_FILE) -> Path:
        """Copies the file PATH, of up to MOST bytes, to TARGET below the scratch folder.

        Raises BadInputError if there is no such file, it is larger, or it cannot be read whole.
        """
        size = self._size(path)
        if size is None:
            raise BadInputError(f"{self.where.name} has no file {path}")
        self._allowance.charge(path, size, most)
        relative = self._allowance.place(target)
        target.unlink(missing_ok=True)

        def watch() -> str:
            if target.exists() and target.stat().st_size > size:
                return f"{path} is larger than its size"
            return no_room(self._scratch)

        source = f"({self._device}){self._inside(path)}"
        argv = ("grub-fstest", self._disk, "cp", source, f"./{relative}")
        what = f"reading {self.where.name}"
        try:
            done = run(argv, what, cwd=self._scratch, check=False, limits=_COPYING, watch=watch)
        except ProgramLimitError as error:
            target.unlink(missing_ok=True)
            raise BadInputError(str(error)) from error
        if done.returncode != 0 or not target.is_file() or target.stat().st_size != size:
            target.unlink(missing_ok=True)
            reason = error_line(done.stderr).removeprefix("grub-fstest: error: ")
            raise BadInputError(
                f"{self.where.name}: {path} cannot be read: {reason or 'it is not whole':.200}"
            )
        return target

    def dump_all(self, files: Iterable[tuple[str, Path]], most: int = MOST_FILE) -> None:
        """Copies each file to its target (see :meth:`dump`)."""
        for path, target in files:
            self.dump(path, target, most)

    def read(self, path: str) -> str:
        """The text of a file of up to MOST_TEXT bytes. Raises BadInputError."""
        return read_text(self, path, self._scratch)

    @cached_property
    def _subvolume(self) -> str:
        """The subvolume that has the system; "" for the whole file system."""
        top = self._list("/")
        if {"etc", "boot", "usr", "loader"} & top.keys():
            return ""
        there = (path for path in _SUBVOLUMES if path[1:] in top)
        return next((path for path in there if {"etc", "boot"} & self._list(path).keys()), "")

    def _inside(self, path: str) -> str:
        """PATH in the whole file system. GRUB's configuration names the subvolume, too."""
        path = posixpath.normpath("/" + path.strip("/"))
        top = self._subvolume
        return path if not top or path == top or path.startswith(f"{top}/") else f"{top}{path}"

    def _size(self, path: str) -> int | None:
        """The size of a file in bytes; None for anything else."""
        folder, name = posixpath.split(self._inside(path))
        return self._list(folder).get(name)

    def _list(self, folder: str) -> dict[str, int | None]:
        """The names in FOLDER with the sizes of files; None for a folder."""
        folder = posixpath.normpath(folder)
        if folder in self._folders:
            return self._folders[folder]
        if _REFUSED.search(folder):
            return {}
        source = f"({self._device}){folder.rstrip('/')}/"
        argv = ("grub-fstest", self._disk, "ls", "--", "-l", source)
        what = f"reading {self.where.name}"
        try:
            done = run(argv, what, cwd=self._scratch, check=False, limits=_LISTING)
        except ProgramLimitError as error:
            raise BadInputError(str(error)) from error
        found = listed(done.stdout)
        self._folders[folder] = found
        self._entries += len(found)
        if self._entries > MOST_ENTRIES or len(self._folders) > _MOST_FOLDERS:
            most = f"{MOST_ENTRIES} files, or {_MOST_FOLDERS} folders"
            raise BadInputError(f"{self.where.name} has more than {most}")
        return found


def logical_volumes(disk: str, scratch: Path) -> list[str]:
    """GRUB's names for the logical volumes of DISK, a name in folder SCRATCH: ``lvm/GROUP-NAME``.

    Raises BadInputError.
    """
    what = "looking for logical volumes"
    try:
        done = run(("grub-fstest", disk, "ls"), what, cwd=scratch, check=False, limits=_LISTING)
    except ProgramLimitError as error:
        raise BadInputError(str(error)) from error
    return list(dict.fromkeys(_LOGICAL.findall(done.stdout)))[:_MOST_LOGICAL]


def listed(answer: str) -> dict[str, int | None]:
    """The names in the output of ``grub-fstest ls -l`` with the sizes of files; None for a folder.

    Names with control characters are left out.
    """
    found: dict[str, int | None] = {}
    for line in answer.split("\n"):
        match = _ENTRY.fullmatch(line)
        if match is None or match[2] in (".", "..") or _REFUSED.search(match[2]):
            continue
        if (match[1] == "DIR") == bool(match[3]):
            found[match[2]] = None if match[3] else int(match[1])
    return found
