# SPDX-License-Identifier: GPL-2.0-or-later
"""Files, folders and links of /sys and /proc, which may disappear, or be closed to us, meanwhile.

Nothing here raises: what cannot be read is None or empty.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from virtio_trace.kernel.files.number_text import hexadecimal

MAX_BYTES = 16 << 20
"""Most that is read of one file, in bytes."""

_ERRORS = (OSError, ValueError, RuntimeError)
"""ValueError: a NUL in the path. RuntimeError: a loop of links (pathlib, before Python 3.13)."""


def entries(folder: Path) -> list[Path]:
    """What is in FOLDER, sorted by name."""
    try:
        return sorted(folder.iterdir())
    except _ERRORS:
        return []


def is_dir(path: Path) -> bool:
    """As Path.is_dir, which raises where a parent folder is closed to us."""
    try:
        return path.is_dir()
    except _ERRORS:
        return False


def exists(path: Path) -> bool:
    """As Path.exists, which raises where a parent folder is closed to us."""
    try:
        return path.exists()
    except _ERRORS:
        return False


def target(path: Path) -> str | None:
    """What a link says; None: not a link."""
    try:
        return str(path.readlink())
    except _ERRORS:
        return None


def link(path: Path) -> str | None:
    """The last part of what a link says: the name of a driver, a subsystem, a module."""
    found = target(path)
    return None if found is None else os.path.basename(found)  # noqa: PTH119


def data(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """The first LIMIT bytes of a file. A FIFO is not waited for."""
    try:
        with io.FileIO(path, opener=_without_waiting) as file:
            found = bytearray()
            while len(found) < limit and (more := file.read(min(limit - len(found), 1 << 16))):
                found += more
            return bytes(found)
    except _ERRORS:
        return None


def content(path: Path) -> str:
    """A file's text, unchanged; "" where it cannot be read."""
    return (data(path) or b"").decode("utf-8", "replace")


def lines(path: Path) -> list[str]:
    """The lines of a file's text; [] where it cannot be read."""
    return content(path).splitlines()


def text(path: Path) -> str | None:
    """A file's text without the white space around it; None where it cannot be read."""
    found = data(path)
    return None if found is None else found.decode("utf-8", "replace").strip()


def number(path: Path) -> int | None:
    """A file's number, in hexadecimal digits; None where it has none, or more than 60 bits."""
    return hexadecimal(text(path) or "")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
