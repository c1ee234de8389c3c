# SPDX-License-Identifier: GPL-2.0-or-later
"""The recordings that are to be imported: files, folders, and URLs (remote.py)."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import UsageError

SUFFIX = ".vtr"
"""What the names of recordings in a folder end with."""


@dataclass(frozen=True, slots=True)
class Found:
    """A recording: its path or URL. ``recorded_at`` is in UTC, None if that is unknown."""

    name: str
    recorded_at: datetime | None


def is_url(name: str) -> bool:
    """Whether NAME is a URL of fsspec: ``s3://...``, ``zip://*.vtr::https://...``."""
    return "://" in name


def find(names: Iterable[str], recorded_at: datetime | None = None) -> Iterator[Found]:
    """Every recording of NAMES, of folders those whose name ends with ``.vtr``, at any depth.
    RECORDED_AT is used instead of the files' own times. Raises UsageError, CannotTraceError."""
    found: Iterator[Found]
    for name in names:
        if is_url(name):
            from virtio_trace.fleet import remote  # noqa: PLC0415 - a library of an extra

            found = itertools.starmap(Found, remote.find(name, SUFFIX))
        else:
            found = _local(Path(name))
        for one in found:
            yield Found(one.name, recorded_at) if recorded_at else one


def check(names: Iterable[str]) -> None:
    """Raises UsageError if a path of NAMES does not exist."""
    for name in names:
        if not is_url(name) and not Path(name).exists():
            raise UsageError(f"{name}: no such file or folder", "name recordings, or a folder")


@contextlib.contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """NAME, open. Raises OSError, BadInputError."""
    if is_url(name):
        from virtio_trace.fleet import remote  # noqa: PLC0415 - as above

        with remote.opened(name) as stream:
            yield stream
        return
    with Path(name).open("rb") as file:
        yield file


def _local(path: Path) -> Iterator[Found]:
    if not path.is_dir():
        yield Found(str(path), _modified(path))
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            if name.endswith(SUFFIX):
                yield Found(str(Path(folder) / name), _modified(Path(folder) / name))


def _modified(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):  # an unreadable file is named when it is opened
        return None
