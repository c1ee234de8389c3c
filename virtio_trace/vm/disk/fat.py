# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a FAT file system in a disk image, such as an EFI system partition, with mtools.

The image may be hostile. mcopy has no limit of size, so it is ended when its file becomes too
large. Names that mtools takes for patterns, or that have control characters, are left out.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.disk.volume import MOST_ENTRIES, MOST_FILE, Allowance, read_text
from virtio_trace.vm.host.children import Limits
from virtio_trace.vm.host.programs import ProgramLimitError, error_line, no_room, run

KINDS = ("vfat",)

TOOLS = ("mdir", "mcopy")
"""The programs that reading a FAT file system needs."""

_ENVIRONMENT = {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null"}
"""No check of the media byte, which some formatters leave wrong; no file of the user's."""

_LISTING = Limits(seconds=120, output=32 << 20)
_COPYING = Limits(seconds=600)
_ROOT = "::"
_REFUSED = re.compile(r"[*?\[\]\\\x00-\x1f\x7f\ufffd]")
_DEEPEST = 32
_EMPTY = 'File "::" not found'
"""mdir's message for a root folder without entries."""


class Fat:
    """The file system WHERE of the image DISK, a file name in folder SCRATCH.

    Paths begin with a slash. Upper and lower case are the same.
    """

    unclean = False

    def __init__(self, disk: str, where: FileSystem, scratch: Path) -> None:
        self.where = where
        self._image = f"{disk}@@{where.offset}"
        self._scratch = scratch
        self._allowance = Allowance(where.name, scratch)

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; [] if there is no such folder."""
        return sorted(self._folders.get(_key(path), {}).values())

    def is_folder(self, path: str) -> bool:
        """Whether PATH leads to a folder."""
        return _key(path) in self._folders

    def is_file(self, path: str) -> bool:
        """Whether PATH leads to a regular file."""
        return _key(path) in self._files

    def files(self, path: str) -> Iterator[str]:
        """The paths of the files below a folder."""
        base = _key(path).rstrip("/") + "/"
        depth = base.count("/")  # lower case may be longer than upper case
        for key, name in sorted(self._files.items()):
            if key.startswith(base):
                yield posixpath.join(path, *name.split("/")[depth:])

    def dump(self, path: str, target: Path, most: int = MOST_FILE) -> Path:
        """Copies the file PATH, of up to MOST bytes, to TARGET below the scratch folder.

        Raises BadInputError if there is no such file, it is larger, or it cannot be read.
        """
        name = self._files.get(_key(path))
        if name is None:
            raise BadInputError(f"{self.where.name} has no file {path}")
        relative = self._allowance.place(target)
        target.unlink(missing_ok=True)
        try:
            self._copy(name, relative, target, most)
            self._allowance.charge(path, target.stat().st_size, most)
        except BadInputError:
            target.unlink(missing_ok=True)
            raise
        return target

    def _copy(self, name: str, relative: str, target: Path, most: int) -> None:
        def watch() -> str:
            if target.exists() and target.stat().st_size > most:
                return f"{name} has more than the {most >> 20} MiB allowed"
            return no_room(self._scratch)

        argv = ("mcopy", "-n", "-o", "-i", self._image, f"{_ROOT}{name}", f"./{relative}")
        try:
            done = run(
                argv,
                f"reading {self.where.name}",
                cwd=self._scratch,
                check=False,
                limits=_COPYING,
                watch=watch,
                env=_ENVIRONMENT,
            )
        except ProgramLimitError as error:
            raise BadInputError(str(error)) from error
        if done.returncode != 0 or not target.is_file():
            raise BadInputError(f"{self.where.name}: {name} cannot be read: {_why(done)}")

    def dump_all(self, files: Iterable[tuple[str, Path]], most: int = MOST_FILE) -> None:
        """Copies each file to its target (see :meth:`dump`)."""
        for path, target in files:
            self.dump(path, target, most)

    def read(self, path: str) -> str:
        """The text of a file of up to MOST_TEXT bytes. Raises BadInputError."""
        return read_text(self, path, self._scratch)

    @cached_property
    def _files(self) -> dict[str, str]:
        """The path of each file, in lower case, and as it is written."""
        return {_key(path): path for path in self._paths if not path.endswith("/")}

    @cached_property
    def _folders(self) -> dict[str, dict[str, str]]:
        """The names in each folder. Both keys are in lower case."""
        folders: dict[str, dict[str, str]] = {"/": {}}
        for path in self._paths:
            if path.endswith("/"):
                folders.setdefault(_key(path), {})
        for path in self._paths:
            folder, name = posixpath.split(path.rstrip("/"))
            folders.setdefault(_key(folder), {})[name.lower()] = name
        return folders

    @cached_property
    def _paths(self) -> list[str]:
        try:
            done = run(
                ("mdir", "-a", "-/", "-b", "-i", self._image, _ROOT),
                f"reading {self.where.name}",
                cwd=self._scratch,
                check=False,
                limits=_LISTING,
                env=_ENVIRONMENT,
            )
        except ProgramLimitError as error:
            raise BadInputError(str(error)) from error
        if done.returncode != 0 and _EMPTY not in done.stderr:
            raise BadInputError(f"{self.where.name} cannot be read: {_why(done)}")
        return paths(done.stdout, self.where.name)


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """Folders in a loop use up mdir's stack: it is killed, and says nothing."""
    return f"{error_line(done.stderr) or f'mtools ended with status {done.returncode}':.200}"


def paths(listing: str, name: str) -> list[str]:
    """The paths in the output of ``mdir -/ -b``; those of folders end with a slash.

    Left out: paths that mcopy would take for a pattern, or that lead upwards. Raises BadInputError
    for more than MOST_ENTRIES; NAME says whose they are.
    """
    found = []
    for line in listing.split("\n"):
        path = line.removeprefix(_ROOT)
        parts = path.strip("/").split("/")
        if not path.startswith("/") or path == "/" or "//" in path or _REFUSED.search(path):
            continue
        if len(parts) <= _DEEPEST and not any(part in ("", ".", "..") for part in parts):
            found.append(path)
    if len(found) > MOST_ENTRIES:
        raise BadInputError(f"{name} has more than {MOST_ENTRIES} files")
    return found


def _key(path: str) -> str:
    """PATH in lower case, without empty parts and ``.``; ``..`` stays below the root."""
    return posixpath.normpath("/" + path.strip("/")).lower()
