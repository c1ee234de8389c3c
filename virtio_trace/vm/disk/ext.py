# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads an ext2, ext3 or ext4 file system in a disk image, with debugfs of e2fsprogs.

The image may be hostile. Sizes are checked before a file is dumped, and nothing is written outside
of the scratch folder.
"""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.debugfs import Debugfs
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import MOST_ENTRIES, MOST_FILE, Allowance, read_text

KINDS = ("ext2", "ext3", "ext4")

_LINKS = 40
"""Symbolic links on the way to one file, as in the kernel (MAXSYMLINKS)."""

_PATH_MAX = 4096

_ENTRY = re.compile(r"/([0-9]{1,10})/([0-7]{1,7})/[0-9]+/[0-9]+/([^/\n]+)/([0-9]{0,20})/")
_FAST_LINK = re.compile(r'^Fast link dest: "(.*)"$', re.M)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder. ``mode`` is as in stat(2), ``size`` is in bytes."""

    name: str
    inode: int
    mode: int
    size: int


class Ext:
    """The file system WHERE of the image DISK, a file name in folder SCRATCH.

    Paths begin with a slash and are inside that file system, where symbolic links are followed.
    """

    def __init__(self, disk: str, where: FileSystem, scratch: Path) -> None:
        self.where = where
        file = f"{disk}?offset={where.offset}" if where.offset else disk
        self._debugfs = Debugfs(file, scratch, where.name)
        self._scratch = scratch
        self._folders: dict[int, dict[str, Entry]] = {}
        self._entries = 0
        self._allowance = Allowance(where.name, scratch)

    @property
    def unclean(self) -> bool:
        """Whether it was not unmounted: its journal has changes that are not yet applied."""
        (stats,) = self._debugfs.ask(["stats -h"])
        return re.search(r"^Filesystem features:.*\bneeds_recovery\b", stats, re.M) is not None

    def find(self, path: str) -> Entry | None:
        """What PATH leads to, with its real path as ``name``; None if it leads nowhere."""
        return self._walk(path.strip("/").split("/") if path.strip("/") else [])

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; [] if there is no such folder."""
        folder = self.find(path)
        if folder is None or not stat.S_ISDIR(folder.mode):
            return []
        return sorted(name for name in self._list(folder.inode) if name not in (".", ".."))

    def is_folder(self, path: str) -> bool:
        """Whether PATH leads to a folder."""
        found = self.find(path)
        return found is not None and stat.S_ISDIR(found.mode)

    def is_file(self, path: str) -> bool:
        """Whether PATH leads to a regular file."""
        found = self.find(path)
        return found is not None and stat.S_ISREG(found.mode)

    def dump(self, path: str, target: Path, most: int = MOST_FILE) -> Path:
        """Copies the file PATH to TARGET (see :meth:`dump_all`)."""
        self.dump_all([(path, target)], most)
        return target

    def dump_all(self, files: Iterable[tuple[str, Path]], most: int = MOST_FILE) -> None:
        """Copies each file to its target below SCRATCH, whose folders are created.

        Raises BadInputError if there is no such file, it has more than MOST bytes, a target is
        outside of SCRATCH, or a file cannot be read whole.
        """
        requests, expected = [], []
        for path, target in files:
            found = self.find(path)
            if found is None or not stat.S_ISREG(found.mode):
                raise BadInputError(f"{self.where.name} has no file {path}")
            self._allowance.charge(path, found.size, most)
            requests.append(f'dump <{found.inode}> "{self._allowance.place(target)}"')
            expected.append((path, target, found.size))
        self._debugfs.ask(requests)
        for path, target, size in expected:
            if not target.is_file() or target.stat().st_size != size:
                raise BadInputError(f"{self.where.name}: {path} cannot be read whole")

    def read(self, path: str) -> str:
        """The text of a file of up to MOST_TEXT bytes. Raises BadInputError."""
        return read_text(self, path, self._scratch)

    def files(self, path: str) -> Iterator[str]:
        """The paths of the regular files below a folder. Symbolic links are not followed.

        Whole levels are listed at once. A folder that is found again, in a loop, is left out.
        """
        folder = self.find(path)
        level = [] if folder is None or not stat.S_ISDIR(folder.mode) else [(path, folder.inode)]
        seen = {inode for _, inode in level}
        while level:
            self._load(inode for _, inode in level)
            below = []
            for here, inode in level:
                for name, entry in sorted(self._list(inode).items()):
                    if name in (".", ".."):
                        continue
                    if stat.S_ISREG(entry.mode):
                        yield posixpath.join(here, name)
                    elif stat.S_ISDIR(entry.mode) and entry.inode not in seen:
                        seen.add(entry.inode)
                        below.append((posixpath.join(here, name), entry.inode))
            level = below

    def _walk(self, parts: list[str]) -> Entry | None:
        here = [Entry("/", 2, stat.S_IFDIR, 0)]
        parts = parts[::-1]
        links = _LINKS
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                here = here[:-1] or here
                continue
            if not stat.S_ISDIR(here[-1].mode):
                return None
            entry = self._list(here[-1].inode).get(part)
            if entry is None:
                return None
            if stat.S_ISLNK(entry.mode):
                links -= 1
                target = self._target(entry)
                if links < 0 or target is None:
                    return None
                parts += target.split("/")[::-1]
                here = here[:1] if target.startswith("/") else here
                continue
            here.append(entry)
        path = "/" + "/".join(entry.name for entry in here[1:])
        return Entry(path, here[-1].inode, here[-1].mode, here[-1].size)

    def _list(self, inode: int) -> dict[str, Entry]:
        self._load([inode])
        return self._folders[inode]

    def _load(self, inodes: Iterable[int]) -> None:
        """Lists the folders that are not listed yet."""
        missing = [inode for inode in dict.fromkeys(inodes) if inode not in self._folders]
        answers = self._debugfs.ask([f"ls -p <{inode}>" for inode in missing])
        for inode, answer in zip(missing, answers, strict=True):
            found = {}
            for match in _ENTRY.finditer(answer):
                number, mode, name, size = match.groups()
                found[name] = Entry(name, int(number), int(mode, 8), int(size or 0))
            self._folders[inode] = found
            self._entries += len(found)
        if self._entries > MOST_ENTRIES:
            raise BadInputError(f"{self.where.name} has more than {MOST_ENTRIES} files")

    def _target(self, link: Entry) -> str | None:
        """Where a symbolic link points: in its inode, or in a block if it is long."""
        if link.size >= _PATH_MAX:
            return None
        fast = _FAST_LINK.search(self._debugfs.ask([f"stat <{link.inode}>"])[0])
        target = fast[1] if fast else self._debugfs.ask([f"cat <{link.inode}>"])[0]
        return target or None
