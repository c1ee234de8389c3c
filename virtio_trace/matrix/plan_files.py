# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plan names outside of itself: files, packages. It may name files in its own folder only,
and in those that the user allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virtio_trace.errors import UsageError, VirtioTraceError
from virtio_trace.matrix.toml_file import Place, TomlFile
from virtio_trace.report.board.parse import LARGEST, parse
from virtio_trace.vm.host import debian
from virtio_trace.vm.root.foreign_initrd import parse_until


class PlanFiles:
    """The files of the plan FILE, in FOLDER and in ALLOW. Each error has the line in the plan."""

    def __init__(self, file: TomlFile, folder: Path, allow: Sequence[Path]) -> None:
        for path in allow:
            if not path.is_dir():
                raise UsageError(f"--allow {path}: not a folder", "name a folder")
        self._file = file
        self._folder = folder.resolve()
        self._allowed = [self._folder, *(path.resolve() for path in allow)]

    def inside(self, place: Place, name: str) -> Path:
        """The path NAME, absolute and without links. Raises BadInputError if it leads outside."""
        try:
            path = (self._folder / name).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle
            raise self._file.error(place, f"{name!r}: {error}") from error
        if not any(path.is_relative_to(folder) for folder in self._allowed):
            raise self._file.error(
                place,
                f"{name!r} is not in the plan's folder, {self._folder}",
                f"if the plan may read it, add --allow {path.parent}",
            )
        return path

    def file(self, place: Place, table: dict[str, Any], key: str) -> Path | None:
        """The file that KEY of TABLE names, if any. Raises BadInputError if there is none."""
        if key not in table:
            return None
        path = self.inside((*place, key), table[key])
        if not path.is_file():
            raise self._file.error((*place, key), f"there is no file {path}")
        return path

    def folder(self, place: Place, table: dict[str, Any], key: str) -> Path | None:
        """The same, a folder."""
        if key not in table:
            return None
        path = self.inside((*place, key), table[key])
        if not path.is_dir():
            raise self._file.error((*place, key), f"there is no folder {path}")
        return path

    def board(self, place: Place, name: str) -> str:
        """The text of the board file NAME. Raises BadInputError if it is no board."""
        path = self.inside(place, name)
        if not path.is_file():
            raise self._file.error(place, f"there is no file {path}")
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            raise self._file.error(place, f"{path}: {error.strerror}") from error
        parse(data, str(path))
        return data.decode("utf-8")

    def package(self, place: Place, name: str) -> str:
        """NAME, if it can be the name of a package. Raises BadInputError."""
        self._ours(place, lambda: debian.parse(name))
        return name

    def until(self, place: Place, words: str) -> None:
        """Raises BadInputError unless WORDS are what ``boot --until`` takes."""
        self._ours(place, lambda: parse_until(words))

    def _ours(self, place: Place, check: Any) -> None:
        try:
            check()
        except VirtioTraceError as error:
            raise self._file.error(place, str(error), error.hint) from error
