# SPDX-License-Identifier: GPL-2.0-or-later
"""inspect on a whole module tree, with and without depmod's files.

Without them every file must be unpacked, so it is compared with that alone: `xz -dc` of the same
files by xargs on all cores, in lots small enough to keep them all busy. Each run is a new process.
They take turns, and the fastest of each counts: other work on the machine only adds time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.vm.host import debian

KERNEL = "linux-image-cloud-amd64/trixie"  # .ko.xz, and from dpkg -x without depmod's files
RUNS = 9
_LOTS_A_CORE = 8


@dataclass(frozen=True, slots=True)
class Inspecting:
    """Wall seconds, one number per run."""

    indexed: list[float]
    plain: list[float]
    unpacking: list[float]
    files: int

    @property
    def ratio(self) -> float:
        """The fastest inspect over the fastest unpacking."""
        return min(self.plain) / min(self.unpacking)


def measure(folder: Path) -> Inspecting:
    """Runs all. FOLDER gets a copy of the tree, for depmod."""
    kernel = debian.fetch(KERNEL)
    files = sorted(kernel.modules.rglob("*.ko.xz"))
    assert len(files) > 500
    lot = max(1, len(files) // (_LOTS_A_CORE * (os.cpu_count() or 1)))
    names = b"".join(bytes(path) + b"\0" for path in files)
    unpack = ["xargs", "-0", "-P", str(os.cpu_count()), "-n", str(lot), "xz", "-dc"]
    inspect = [sys.executable, "-m", "virtio_trace", "inspect", "--format", "json"]
    indexed = _indexed(folder, kernel.modules)
    found = Inspecting([], [], [], len(files))
    for run in range(RUNS + 1):
        times = (
            _time([*inspect, str(indexed)]),
            _time([*inspect, str(kernel.modules)]),
            _time(unpack, names),
        )
        if run:  # the first fills the page cache
            for seconds, into in zip(
                times, (found.indexed, found.plain, found.unpacking), strict=True
            ):
                into.append(seconds)
    return found


def _indexed(folder: Path, modules: Path) -> Path:
    copy = folder / "lib" / "modules" / modules.name
    shutil.copytree(modules, copy, symlinks=True)
    boot = next(
        modules.parents[i] / "boot" for i in range(4) if (modules.parents[i] / "boot").is_dir()
    )
    shutil.copytree(boot, folder / "boot")
    subprocess.run(
        ["depmod", "-b", folder, modules.name],
        check=True,
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
    )
    return copy


def _time(command: list[str], names: bytes = b"") -> float:
    began = time.monotonic()
    subprocess.run(
        command, check=True, input=names, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.monotonic() - began


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(Path(temporary))
    print(found, f"ratio {found.ratio:.2f}")
