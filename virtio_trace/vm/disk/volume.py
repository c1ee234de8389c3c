# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system in a disk image: what every reader of one offers, and its limits.

The image may be hostile. Sizes are limited, and nothing is written outside of the scratch folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.partitions import FileSystem

MOST_TEXT = 1 << 20
"""Bytes of a configuration file."""

MOST_FILE = 2 << 30
"""Bytes of any file."""

MOST_ENTRIES = 200_000
"""Names that are listed of one file system."""

_MOST_DUMPED = 8 << 30
_BAD_NAME = re.compile(r'["\n\0]')


class Volume(Protocol):
    """A file system that is open. Paths begin with a slash and are inside of it.

    Each method raises BadInputError where the file system cannot be read.
    """

    where: FileSystem

    @property
    def unclean(self) -> bool:
        """Whether it was not unmounted, so that changes are only in its journal."""

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; [] if there is no such folder."""

    def is_folder(self, path: str) -> bool:
        """Whether PATH leads to a folder."""

    def is_file(self, path: str) -> bool:
        """Whether PATH leads to a regular file."""

    def files(self, path: str) -> Iterator[str]:
        """The paths of the regular files below a folder."""

    def dump(self, path: str, target: Path, most: int = MOST_FILE) -> Path:
        """Copies the file PATH, of up to MOST bytes, to TARGET below the scratch folder."""

    def dump_all(self, files: Iterable[tuple[str, Path]], most: int = MOST_FILE) -> None:
        """Copies each file to its target."""

    def read(self, path: str) -> str:
        """The text of a file of up to MOST_TEXT bytes."""


class Allowance:
    """How much may be copied out of the file system NAME, and where to: below folder SCRATCH."""

    def __init__(self, name: str, scratch: Path) -> None:
        self._name = name
        self._scratch = scratch
        self._dumped = 0

    def charge(self, path: str, size: int, most: int) -> None:
        """Counts the file PATH of SIZE bytes. Raises BadInputError for more than MOST, or for more
        than all files together may have."""
        self._dumped += size
        if size > most:
            limit = f"{most >> 20} MiB"
            raise BadInputError(
                f"{self._name}: {path} has {size} bytes, more than the {limit} allowed"
            )
        if self._dumped > _MOST_DUMPED:
            raise BadInputError(f"{self._name}: more than {_MOST_DUMPED >> 30} GiB to read")

    def place(self, target: Path) -> str:
        """TARGET relative to the scratch folder, by its real path; its folders are made.

        Raises BadInputError where it leads out of the scratch folder.
        """
        try:
            scratch, parent = self._scratch.resolve(), target.parent.resolve()
            if not parent.is_relative_to(scratch) or target.name == ".." or target.is_symlink():
                raise BadInputError(f"{self._name}: {target.name!r} leaves its folder")
            parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # such as ENAMETOOLONG, or a zero byte
            raise BadInputError(f"{self._name}: {target.name:.80}: {error}") from error
        name = str(parent.relative_to(scratch) / target.name)
        if _BAD_NAME.search(name):
            raise BadInputError(f"{self._name} cannot be asked for {name!r}")
        return name


def read_text(volume: Volume, path: str, scratch: Path) -> str:
    """The text of the file PATH, by way of a file in SCRATCH that is removed again."""
    target = volume.dump(path, scratch / "text", MOST_TEXT)
    try:
        return target.read_text("utf-8", "replace")
    finally:
        target.unlink()
