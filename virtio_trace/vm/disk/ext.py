# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads an ext2, ext3 or ext4 file system in a disk image, by debugfs of e2fsprogs.

debugfs reads at an offset into a file and needs neither root nor a mount. Its exit status is
always 0, so what it says on standard error is looked at.
"""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.host.programs import run

KINDS = ("ext2", "ext3", "ext4")

_LINKS = 40
"""Symbolic links on the way to one file, as the kernel has it (MAXSYMLINKS)."""

_PATH_MAX = 4096

_ENTRY = re.compile(r"/(\d+)/([0-7]+)/(\d+)/(\d+)/([^/\n]+)/(\d*)/")
_TARGET = re.compile(r'^Fast link dest: "(.*)"$', re.M)
_NO_NAME = re.compile(r'["\n\0]')


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder; ``mode`` as in stat(2), ``size`` in bytes."""

    name: str
    inode: int
    mode: int
    size: int


class Ext:
    """The file system WHERE of the image DISK, a file's name in folder SCRATCH.

    Paths begin with a slash and are in that file system; symbolic links are followed there.
    """

    def __init__(self, disk: str, where: FileSystem, scratch: Path) -> None:
        self.where = where
        self._file = f"{disk}?offset={where.offset}" if where.offset else disk
        self._scratch = scratch
        self._folders: dict[int, dict[str, Entry]] = {}

    @property
    def unclean(self) -> bool:
        """Whether its journal has what it has not itself: it was not unmounted."""
        return bool(
            re.search(r"^Filesystem features:.*\bneeds_recovery\b", self._ask("stats -h"), re.M)
        )

    def find(self, path: str) -> Entry | None:
        """What PATH leads to, by its real path as ``name``; None where it leads nowhere."""
        return self._walk(path.strip("/").split("/") if path.strip("/") else [], _LINKS)

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; none where there is no such folder."""
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

    def dump(self, path: str, target: Path) -> Path:
        """Copies the file PATH to TARGET, a path below SCRATCH whose folder is made.

        Raises BadInputError where there is no such file, or not all of it came.
        """
        found = self.find(path)
        if found is None or not stat.S_ISREG(found.mode):
            raise BadInputError(f"{self.where.name} has no file {path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        name = str(target.relative_to(self._scratch))
        if _NO_NAME.search(name):
            raise BadInputError(f"{self.where.name}: {name!r} is no name that can be asked for")
        self._ask(f'dump <{found.inode}> "{name}"')
        if not target.is_file() or target.stat().st_size != found.size:
            raise BadInputError(f"{self.where.name}: {path} cannot be read whole")
        return target

    def read(self, path: str) -> str:
        """A small text. Raises BadInputError."""
        target = self.dump(path, self._scratch / "text")
        try:
            return target.read_text("utf-8", "replace")
        finally:
            target.unlink()

    def files(self, path: str) -> Iterator[str]:
        """The regular files below a folder, with their paths; links are not followed."""
        folder = self.find(path)
        if folder is None or not stat.S_ISDIR(folder.mode):
            return
        folders, seen = [(path, folder.inode)], {folder.inode}
        while folders:
            here, inode = folders.pop()
            inner = []
            for name, entry in sorted(self._list(inode).items()):
                if name in (".", ".."):
                    continue
                if stat.S_ISREG(entry.mode):
                    yield posixpath.join(here, name)
                elif stat.S_ISDIR(entry.mode) and entry.inode not in seen:
                    seen.add(entry.inode)  # a damaged folder may be in itself
                    inner.append((posixpath.join(here, name), entry.inode))
            folders += reversed(inner)

    def _walk(self, parts: list[str], links: int) -> Entry | None:
        here = [Entry("/", 2, stat.S_IFDIR, 0)]
        while parts:
            part, parts = parts[0], parts[1:]
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
                parts = target.split("/") + parts
                here = here[:1] if target.startswith("/") else here
                continue
            here.append(entry)
        path = "/" + "/".join(entry.name for entry in here[1:])
        return Entry(path, here[-1].inode, here[-1].mode, here[-1].size)

    def _list(self, inode: int) -> dict[str, Entry]:
        if inode not in self._folders:
            found = {}
            for match in _ENTRY.finditer(self._ask(f"ls -p <{inode}>")):
                number, mode, _uid, _gid, name, size = match.groups()
                found[name] = Entry(name, int(number), int(mode, 8), int(size or 0))
            self._folders[inode] = found
        return self._folders[inode]

    def _target(self, link: Entry) -> str | None:
        """Where a symbolic link points: in its inode, or in a block if it is long; None where that
        is longer than any path."""
        if link.size >= _PATH_MAX:
            return None
        fast = _TARGET.search(self._ask(f"stat <{link.inode}>"))
        target = fast[1] if fast else self._ask(f"cat <{link.inode}>")
        return target or None

    def _ask(self, request: str) -> str:
        """What debugfs says. Raises BadInputError where it cannot open the file system."""
        argv = ["debugfs", "-R", request, self._file]
        done = run(argv, f"reading {self.where.name}", cwd=self._scratch, check=False)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("debugfs 1.")]
        if any("while trying to open" in line or "not open" in line for line in lines):
            raise BadInputError(f"{self.where.name} cannot be read: {lines[0]}")
        return done.stdout
