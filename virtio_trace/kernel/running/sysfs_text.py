# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns sysfs as text back into a folder, for code that reads it as files.

A guest sends the few files that matter (vm/guest/plain, tracer/executor/sysfs.py), in these forms
of line: ``==> /sys/... <==`` before a file's first line (head -v), ``'/sys/...' -> '...'`` for a
link (stat), a folder's path, ``bytes /... HEX`` for a whole file, ``config /sys/... HEX`` for a PCI
configuration space, ``deferred ...`` for a line of devices_deferred in debugfs, ``iomem ...`` and
``interrupts ...`` for one of /proc/iomem and /proc/interrupts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

DEBUGFS = "sys/kernel/debug"

_FILE = re.compile(r"==> (/.+) <==")
_LINK = re.compile(r"'(/.+)' -> '(.+)'")
_CONFIG = re.compile(r"config (/\S+) ((?:[0-9a-f]{2})+)")
_BYTES = re.compile(r"bytes (/\S+) ((?:[0-9a-f]{2})+)")
_DEFERRED = "deferred "
_OF_PROC = ("iomem", "interrupts")
_MAX_DEPTH = 64
"""Folders from the root to a file. Real paths have about 10."""

_REFUSED = (OSError, ValueError)
"""The host's file system refuses a name: too long, a file where a folder should be, no encoding."""


def rebuild(lines: Iterable[str], root: Path) -> None:
    """Create in ROOT, an empty folder, what LINES describe.

    The guest is not trusted: a line that makes no sense is ignored, and nothing is created outside
    of ROOT. Never raises for what LINES hold.
    """
    root = Path(os.path.realpath(root))
    links: list[tuple[str, str]] = []
    deferred: list[str] = []
    of_proc: dict[str, list[str]] = {name: [] for name in _OF_PROC}
    path: str | None = None
    for line in lines:
        if (found := _FILE.fullmatch(line)) is not None:
            path = found[1]
        elif path is not None:
            _file(root, path, _encoded(line))
            path = None
        elif (found := _LINK.fullmatch(line)) is not None:
            links.append((found[1], found[2]))
        elif (found := _CONFIG.fullmatch(line)) is not None:
            _file(root, f"{found[1]}/config", bytes.fromhex(found[2]))
        elif (found := _BYTES.fullmatch(line)) is not None:
            _file(root, found[1], bytes.fromhex(found[2]))
        elif line.startswith(_DEFERRED):
            deferred.append(line.removeprefix(_DEFERRED))
        elif (name := line.partition(" ")[0]) in of_proc:
            of_proc[name].append(line.removeprefix(f"{name} "))
        elif line.startswith("/"):
            _folder(root, line)
    _file(root, f"/{DEBUGFS}/devices_deferred", b"".join(map(_encoded, deferred)))
    for name, found_lines in of_proc.items():
        if found_lines:
            _file(root, f"/proc/{name}", b"".join(map(_encoded, found_lines)))
    for name, target in links:
        _link(root, name, target)


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "replace") + b"\n"


def _place(root: Path, name: str) -> Path | None:
    """Where NAME is in ROOT, its parent folders created; None: not a plain path, too deep, or
    through a link."""
    if os.path.normpath(name) != name or name.startswith("//") or name.count("/") > _MAX_DEPTH:
        return None
    place = root / name.lstrip("/")
    with contextlib.suppress(*_REFUSED):
        place.parent.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(place.parent) == str(place.parent):
            return place
    return None


def _folder(root: Path, name: str) -> None:
    place = _place(root, name)
    if place is not None:
        with contextlib.suppress(*_REFUSED):
            place.mkdir(exist_ok=True)


def _file(root: Path, name: str, data: bytes) -> None:
    place = _place(root, name)
    if place is not None:
        with contextlib.suppress(*_REFUSED):
            if not place.is_symlink():
                place.write_bytes(data)


def _link(root: Path, name: str, target: str) -> None:
    """Create a link that stays inside; targets in sysfs are relative."""
    place = _place(root, os.path.normpath(name))
    inside = os.path.normpath(f"{os.path.dirname(os.path.normpath(name))}/{target}")  # noqa: PTH120
    if place is not None and not target.startswith("/") and inside.startswith("/sys/"):
        with contextlib.suppress(*_REFUSED):
            place.symlink_to(target)
