# SPDX-License-Identifier: GPL-2.0-or-later
"""The initrd that the first process of this machine runs in, where that is not our own root.

A system in an initrd has only the modules that are in it, whatever the kernel's package has.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from virtio_trace.kernel.files.module_tree import module_name
from virtio_trace.recording.machine_state import Initrd

_FOLDERS = ("usr/lib/modules", "lib/modules")


class InitrdRoot:
    """The root of the first process. It is an initrd's when the recording begins before anything
    else runs, and the recorder is not in it itself: that is how ``boot`` starts it."""

    def __init__(self, proc: Path = Path("/proc"), ours: Path = Path("/")) -> None:
        self._path = proc / "1/root"
        self._release = proc / "sys/kernel/osrelease"
        here, first = _place(ours), _place(self._path)
        in_memory = _kind(proc / "1/mounts") in ("rootfs", "tmpfs", "ramfs")
        self._initrd = first if first != here and in_memory else None

    def modules(self, wanted: Collection[str]) -> Initrd | None:
        """Which of the modules WANTED have a file in the initrd; None where there is no initrd."""
        if self._initrd is None:
            return None
        try:
            release = self._release.read_text("ascii").strip()
        except OSError:
            return None
        found = set()
        for folder in _FOLDERS:
            for _path, _folders, files in os.walk(self._path / folder / release):
                found |= {module_name(file) for file in files if ".ko" in file}
        return Initrd(tuple(sorted(found & set(wanted))))

    def is_left(self) -> bool | None:
        """Whether the first process has another root by now; None where it had no initrd."""
        return None if self._initrd is None else _place(self._path) != self._initrd


def _place(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _kind(mounts: Path) -> str:
    """The type of the file system at the root, the last one mounted there (proc(5))."""
    try:
        lines = [line.split() for line in mounts.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    return next((line[2] for line in reversed(lines) if len(line) > 2 and line[1] == "/"), "")
