# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings behind URLs.

The only file that imports fsspec.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from virtio_trace.errors import BadInputError, UsageError, VirtioTraceError
from virtio_trace.fleet.extra import missing

try:
    from fsspec.core import url_to_fs
except ImportError as error:
    raise missing("fsspec", "fleet") from error

_TIMES = "mtime", "LastModified", "last_modified", "modified", "created", "date_time"
"""The names that file systems of fsspec give to the time of a file."""


def find(url: str, suffix: str) -> Iterator[tuple[str, datetime | None]]:
    """The URL of each file at URL, and its time: one file, what a pattern (``*``) matches, or all
    in a folder whose names end with SUFFIX. Raises UsageError."""
    try:
        system, path = url_to_fs(url)
        if "*" in path:
            files = system.glob(path, detail=True)
        elif system.isdir(path):
            files = {
                name: info
                for name, info in system.find(path, detail=True).items()
                if name.endswith(suffix)
            }
        else:
            files = {path: system.info(path)}
    except Exception as error:  # each file system has its own
        raise _failed(url, error) from error
    _, chained, rest = url.partition("::")
    for name in sorted(files):
        if files[name].get("type", "file") == "file":
            yield f"{_with_protocol(system, name)}{chained}{rest}", _time(files[name])


@contextlib.contextmanager
def opened(url: str) -> Iterator[BinaryIO]:
    """The file at URL, open. Raises BadInputError."""
    try:
        system, path = url_to_fs(url)
        stream = system.open(path, "rb")
    except Exception as error:  # as above
        raise BadInputError(f"{url}: {_words(error)}") from error
    with stream:
        yield _Guarded(stream, url)  # type: ignore[misc]


class _Guarded:
    """Reads of STREAM. Raises BadInputError."""

    def __init__(self, stream: Any, url: str) -> None:
        self._stream, self._url = stream, url

    def read(self, size: int) -> bytes:
        """At most SIZE bytes."""
        try:
            block: bytes = self._stream.read(size)
        except Exception as error:  # as above
            raise BadInputError(f"{self._url}: {_words(error)}") from error
        return block


def _with_protocol(system: Any, path: str) -> str:
    name: str = system.unstrip_protocol(path)
    return name


def _time(info: dict[str, Any]) -> datetime | None:
    for name in _TIMES:
        found = info.get(name)
        if isinstance(found, (int, float)):
            return datetime.fromtimestamp(found, UTC)
        if isinstance(found, tuple):  # of a zip archive
            return datetime(*found[:6]).replace(tzinfo=UTC)
        if isinstance(found, datetime):
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def _failed(url: str, error: Exception) -> VirtioTraceError:
    hint = "pip install it" if isinstance(error, ImportError) else "see the URLs of fsspec"
    return UsageError(f"{url}: {_words(error)}", hint)


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (str(error).splitlines() or [type(error).__name__])[0]
