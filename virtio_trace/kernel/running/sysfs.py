# SPDX-License-Identifier: GPL-2.0-or-later
"""Files and links of /sys and /proc, which may go away, or be closed to us, while they are read.

None of these raises: what is not there is None or empty.
"""

from __future__ import annotations

from pathlib import Path

_END = 1 << 63
"""A recording has no larger number (recording/machine_state.py)."""


def entries(folder: Path) -> list[Path]:
    """What is in FOLDER, by name."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def is_dir(path: Path) -> bool:
    """Path.is_dir raises where a folder on the way may not be entered."""
    try:
        return path.is_dir()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """As is_dir, of anything."""
    try:
        return path.exists()
    except OSError:
        return False


def link(path: Path) -> str | None:
    """The name of what a link leads to: a driver, a subsystem, a module."""
    try:
        return path.readlink().name
    except OSError:
        return None


def text(path: Path) -> str | None:
    """A file's text without the newline at its end."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A file's number, in hexadecimal."""
    try:
        found = int(text(path) or "", 16)
    except ValueError:
        return None
    return found if 0 <= found < _END else None
