# SPDX-License-Identifier: GPL-2.0-or-later
"""The initrd that process 1 runs in, where that is not our own root.

A system in an initrd has only the modules that are in the initrd, whatever the kernel's package
has.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from virtio_trace.kernel.files.module_tree import module_name
from virtio_trace.kernel.running import sysfs
from virtio_trace.recording.machine_state import Initrd

_FOLDERS = ("usr/lib/modules", "lib/modules")


class InitrdRoot:
    """The root of process 1, if it is an initrd's.

    It is where the recording starts before anything else runs and the recorder is outside of the
    initrd, as ``boot`` starts it.
    """

    def __init__(self, proc: Path = Path("/proc"), ours: Path = Path("/")) -> None:
        self._path = proc / "1/root"
        self._release = proc / "sys/kernel/osrelease"
        self._ours = ours
        here, first = _identity(ours), _identity(self._path)
        in_memory = _file_system(proc / "1/mounts") in ("rootfs", "tmpfs", "ramfs")
        self._initrd = first if first != here and in_memory else None

    def modules(self, wanted: Collection[str]) -> Initrd | None:
        """Which of the modules WANTED have a file in the initrd, and whether the recorder itself
        has no others; None: there is no initrd."""
        release = sysfs.text(self._release)
        if self._initrd is None or not release:
            return None
        found = _names(self._path, release)
        only = _names(self._ours, release) <= found
        return Initrd(tuple(sorted(found & set(wanted))), only)

    def is_left(self) -> bool | None:
        """Whether process 1 has another root now; None: it had no initrd."""
        return None if self._initrd is None else _identity(self._path) != self._initrd


def _names(root: Path, release: str) -> set[str]:
    """The modules of the kernel RELEASE that have a file in the file system at ROOT."""
    found = set()
    for folder in _FOLDERS:
        for _path, _folders, files in os.walk(root / folder / release):
            found |= {module_name(file) for file in files if ".ko" in file}
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _file_system(mounts: Path) -> str:
    """The type of the file system at the root, the one mounted last (proc_pid_mounts(5))."""
    lines = [line.split() for line in sysfs.lines(mounts)]
    return next((line[2] for line in reversed(lines) if len(line) > 2 and line[1] == "/"), "")
