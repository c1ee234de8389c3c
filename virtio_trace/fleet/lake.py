# SPDX-License-Identifier: GPL-2.0-or-later
"""A lake: a folder with Parquet files, and a commit for each batch that was imported.

    LAKE/lake.json                          the version of the schema
    LAKE/commits/NAME.json                  the files of a batch, and the size of each
    LAKE/TABLE/month=2026-11/NAME.parquet   the rows of a batch

A batch is there once its commit is: the commit is written last, under another name, and renamed.
Files without a commit were left by an import that was killed; the next import removes them. A lock
on the folder, which ends with its process, keeps two imports from committing at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.fleet.schema import SCHEMA, TABLES

_MARK, _COMMITS = "lake.json", "commits"
_TEMPORARY = ".new-"
"""Names that begin with a dot are hidden from Spark, DuckDB's * and others."""

_MAGIC = b"PAR1"
"""What a Parquet file begins and ends with."""

_AGAIN = "remove {file}, then import its recordings again"


@dataclass(frozen=True, slots=True)
class Lake:
    """The lake in ``folder``, which has been checked."""

    folder: Path

    def commits(self) -> list[Path]:
        """The commits, by name."""
        paths = (self.folder / _COMMITS).glob("*.json")
        return sorted(path for path in paths if not path.name.startswith(_TEMPORARY))

    def files(self, table: str) -> list[Path]:
        """The files of TABLE. Raises BadInputError for one that is missing or cut."""
        return [path for commit in self.commits() for path in self.of_commit(commit, table)]

    def of_commit(self, commit: Path, table: str) -> list[Path]:
        """The files of TABLE in COMMIT. Raises BadInputError."""
        found = []
        for name, size in sorted(_read_commit(commit)["files"].items()):
            if name.startswith(f"{table}/"):
                path = self.folder / name
                _check_file(path, size, commit)
                found.append(path)
        return found

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Waits for other imports to finish their commit."""
        return _locked(self.folder)

    def sweep(self) -> None:
        """Remove what a killed import left. The lake is locked."""
        known = {name for commit in self.commits() for name in _read_commit(commit)["files"]}
        for table in (*TABLES, _COMMITS):
            for path in (self.folder / table).rglob("*"):
                name = path.relative_to(self.folder).as_posix()
                stray = path.suffix == ".parquet" and name not in known
                if path.name.startswith(_TEMPORARY) or stray:
                    path.unlink()

    def commit(self, name: str, written: dict[Path, Path]) -> None:
        """Commit the batch NAME. WRITTEN has the final path of each temporary file. The lake is
        locked. Raises OSError."""
        files = {}
        for temporary, final in written.items():
            _synced(temporary)
            temporary.rename(final)
            files[final.relative_to(self.folder).as_posix()] = final.stat().st_size
        document = {"schema": SCHEMA, "files": files}
        _write(self.folder / _COMMITS / f"{name}.json", json.dumps(document, indent=1) + "\n")


def temporary(path: Path) -> Path:
    """Where PATH is written before it is renamed."""
    return path.with_name(f"{_TEMPORARY}{path.name}")


def create(folder: Path) -> Lake:
    """The lake in FOLDER, which is made unless it exists. Raises UsageError if FOLDER has other
    files, BadInputError, OSError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{folder}: is not a folder", "name a folder with -o") from error
    with _locked(folder):
        if not (folder / _MARK).exists():
            if any(not path.name.startswith(_TEMPORARY) for path in folder.iterdir()):
                raise UsageError(f"{folder}: has files, but is not a lake", "name an empty folder")
            _write(folder / _MARK, json.dumps({"schema": SCHEMA}) + "\n")
        lake = open_lake(folder)
        for name in (*TABLES, _COMMITS):
            (folder / name).mkdir(exist_ok=True)
    return lake


def open_lake(folder: Path) -> Lake:
    """The lake in FOLDER. Raises BadInputError if it is none, or of another version."""
    mark = folder / _MARK
    try:
        schema = json.loads(mark.read_bytes())["schema"]
    except FileNotFoundError as error:
        raise BadInputError(
            f"{folder}: not a lake", "make one: virtio-trace fleet import PATH... -o LAKE"
        ) from error
    except OSError as error:
        raise BadInputError(f"{mark}: {error.strerror}", "name a lake") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{mark}: damaged", "import again, into another folder") from error
    if schema != SCHEMA:
        raise BadInputError(
            f"{folder}: a lake of schema {schema}",
            f"this virtio-trace reads {SCHEMA}: import again, into another folder",
        )
    return Lake(folder)


def _read_commit(commit: Path) -> dict[str, Any]:
    try:
        document = json.loads(commit.read_bytes())
        schema, files = document["schema"], document["files"]
        if type(files) is not dict or any(type(size) is not int for size in files.values()):
            raise TypeError
    except OSError as error:
        raise BadInputError(f"{commit}: {error.strerror}", _AGAIN.format(file=commit)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{commit}: damaged", _AGAIN.format(file=commit)) from error
    if schema != SCHEMA:
        raise BadInputError(f"{commit}: schema {schema}", f"this virtio-trace reads {SCHEMA}")
    return {"files": files}


def _check_file(path: Path, size: int, commit: Path) -> None:
    """Raises BadInputError."""
    hint = _AGAIN.format(file=commit)
    try:
        with path.open("rb") as stream:
            there = os.fstat(stream.fileno()).st_size
            begin = stream.read(len(_MAGIC))
            stream.seek(max(0, there - len(_MAGIC)))
            end = stream.read(len(_MAGIC))
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}", hint) from error
    if there != size:
        raise BadInputError(f"{path}: {there} bytes, but {size} were written", hint)
    if (begin, end) != (_MAGIC, _MAGIC):
        raise BadInputError(f"{path}: not a Parquet file", hint)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, text: str) -> None:
    """Write TEXT to PATH at once: whoever reads it sees all or nothing. Raises OSError."""
    made = temporary(path)
    made.write_text(text, "utf-8")
    _synced(made)
    made.rename(path)


def _synced(path: Path) -> None:
    """A power failure after the rename leaves no empty file."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
