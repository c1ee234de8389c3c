# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of a matrix: its cases' files, and which cases are done.

    plan.json                   every case of the plan, and which part of it is run here
    cases/KERNEL/BOARD/NUMBER/  a case: result.json, the recording, reports, the console

A case's folder gets its name when everything is in it. So a case is either done or not, whenever
this process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.matrix.case import CaseResult

SCHEMA = "virtio-trace/matrix-plan/1"
PLAN = "plan.json"
RESULT = "result.json"
_CASES = "cases"
_PART = ".part"
_LARGEST = 64 << 20
_CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*/[A-Za-z0-9][A-Za-z0-9._+-]*/[0-9]+")


class MatrixFolder:
    """The folder PATH. Use :func:`opened` to write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def case(self, name: str) -> Path:
        """The folder of the case NAME, which exists once it is done."""
        return self.path / _CASES / name

    def begin(self, name: str) -> Path:
        """An empty folder in which the case NAME is made. Raises OSError."""
        part = self._part(name)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        return part

    def finish(self, result: CaseResult, files: Mapping[str, bytes] | None = None) -> None:
        """The case of RESULT is done. FILES: its files, if they were made elsewhere. Raises
        BadInputError if one of them would lie outside of its folder, OSError."""
        if files is not None:
            self.begin(result.name)
        part = self._part(result.name)
        part.mkdir(parents=True, exist_ok=True)
        for name, content in (files or {}).items():
            path = part / name
            if not path.resolve().is_relative_to(part.resolve()):
                raise BadInputError(f"a worker sent a file {name!r}", "do not use that worker")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for path in part.rglob("*"):
            if not path.is_file() and not path.is_dir():
                path.unlink()  # a socket of QEMU
        write_json(part / RESULT, result.to_json())
        final = self.case(result.name)
        shutil.rmtree(final, ignore_errors=True)
        part.replace(final)

    def adopt(self, name: str, source: Path) -> None:
        """Copies the case NAME from the folder SOURCE: regular files alone, as it may come from
        somebody else's machine. Raises OSError."""
        part = self.begin(name)
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                copy = part / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        final = self.case(name)
        shutil.rmtree(final, ignore_errors=True)
        part.replace(final)

    def result(self, name: str) -> CaseResult | None:
        """The result of the case NAME; None if it is not done. Raises BadInputError."""
        path = self.case(name) / RESULT
        raw = read_json(path)
        if raw is None:
            return None
        try:
            found = CaseResult.from_json(raw)
        except BadInputError as error:
            raise BadInputError(f"{path} {error}", "remove the case's folder") from error
        if found.name != name:
            raise BadInputError(f"{path} is of case {found.name}", "remove the case's folder")
        return found

    def plan(self) -> dict[str, Any]:
        """plan.json. Raises BadInputError if it is none, UsageError if there is none."""
        path = self.path / PLAN
        raw = read_json(path)
        if raw is None:
            raise UsageError(f"{self.path} has no {PLAN}: no matrix was run there")
        if not _is_plan(raw):
            raise BadInputError(f"{path} is not {SCHEMA}", "is it of another version?")
        found: dict[str, Any] = raw
        return found

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Replaces plan.json."""
        write_json(self.path / PLAN, {"schema": SCHEMA, **plan})

    @property
    def is_used(self) -> bool:
        """Whether a matrix was run in it."""
        return (self.path / PLAN).exists()

    def sweep(self) -> None:
        """Removes what is left of cases that were not done when their matrix ended."""
        for part in (self.path / _CASES).glob(f"*/*/*{_PART}"):
            shutil.rmtree(part, ignore_errors=True)

    def _part(self, name: str) -> Path:
        whole = self.case(name)
        return whole.with_name(whole.name + _PART)


def _is_plan(raw: Any) -> bool:
    """Whether RAW is the content of a plan.json. Names are parts of paths."""
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        return False
    part, cases = raw.get("shard"), raw.get("cases")
    lists = [raw.get("kernels"), raw.get("boards")]
    return (
        isinstance(raw.get("name"), str)
        and isinstance(part, list)
        and len(part) == 2
        and all(isinstance(number, int) for number in part)
        and all(isinstance(one, list) and all(isinstance(n, str) for n in one) for one in lists)
        and isinstance(cases, dict)
        and all(isinstance(name, str) and _CASE.fullmatch(name) for name in cases)
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[MatrixFolder]:
    """The folder PATH, made if it is missing, which no other process writes to meanwhile. Raises
    UsageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name another folder with -o DIR") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait until it has ended, or name another folder with -o DIR"
            raise UsageError(f"{path}: another matrix runs there", hint) from error
        except OSError:
            pass  # this file system has no locks
        yield MatrixFolder(path)
    finally:
        os.close(handle)


def read_json(path: Path) -> Any:
    """The JSON in the file PATH; None if there is no file. Raises BadInputError."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise BadInputError(f"{path} has more than {_LARGEST >> 20} MiB")
        return json.loads(raw)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotTraceError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is not JSON", "it was changed, or cut") from error


def write_json(path: Path, value: Any) -> None:
    """Replaces the file PATH by VALUE as JSON, at once. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    fresh.replace(path)
