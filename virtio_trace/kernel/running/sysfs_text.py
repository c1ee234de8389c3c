# SPDX-License-Identifier: GPL-2.0-or-later
"""sysfs as text, put together again as a folder, for those who read it as files.

A guest that has no agent hands out the few files that matter (vm/guest/plain). Five forms of line:
``==> /sys/... <==`` before a file's first line (head -v), ``'/sys/...' -> '...'`` of a link (stat),
a folder's path alone, ``config /sys/... HEX`` of a PCI configuration space, and ``deferred ...``,
a line of debugfs's devices_deferred.
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
_DEFERRED = "deferred "


def rebuild(lines: Iterable[str], root: Path) -> None:
    """Makes below ROOT, an empty folder, what LINES tell. A line that makes no sense makes nothing,
    and nothing is made outside: the guest may be anybody's."""
    root = Path(os.path.realpath(root))
    links: list[tuple[str, str]] = []
    deferred: list[str] = []
    path: str | None = None
    for line in lines:
        if (found := _FILE.fullmatch(line)) is not None:
            path = found[1]
        elif path is not None:
            _file(root, path, line.encode() + b"\n")
            path = None
        elif (found := _LINK.fullmatch(line)) is not None:
            links.append((found[1], found[2]))
        elif (found := _CONFIG.fullmatch(line)) is not None:
            _file(root, f"{found[1]}/config", bytes.fromhex(found[2]))
        elif line.startswith(_DEFERRED):
            deferred.append(line.removeprefix(_DEFERRED))
        elif line.startswith("/"):
            place = _place(root, line)
            if place is not None:
                with contextlib.suppress(OSError):
                    place.mkdir(exist_ok=True)
    _file(root, f"/{DEBUGFS}/devices_deferred", "".join(f"{x}\n" for x in deferred).encode())
    for name, target in links:
        _link(root, name, target)


def _place(root: Path, name: str) -> Path | None:
    """Where NAME is below ROOT, its folder made; None where a link leads there, or it is no plain
    path."""
    if os.path.normpath(name) != name or name.startswith("//") or "\0" in name:
        return None
    place = root / name.lstrip("/")
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(place.parent) == str(place.parent):
            return place
    return None


def _file(root: Path, name: str, data: bytes) -> None:
    place = _place(root, name)
    with contextlib.suppress(OSError):
        if place is not None and not place.is_symlink():
            place.write_bytes(data)


def _link(root: Path, name: str, target: str) -> None:
    """A link that stays inside: targets in sysfs are relative."""
    if "\0" in target:
        return
    place = _place(root, os.path.normpath(name))
    inside = os.path.normpath(f"{os.path.dirname(os.path.normpath(name))}/{target}")  # noqa: PTH120
    if place is not None and not target.startswith("/") and inside.startswith("/sys/"):
        with contextlib.suppress(OSError):
            place.symlink_to(target)
