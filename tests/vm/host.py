# SPDX-License-Identifier: GPL-2.0-or-later
"""The host that runs ``boot``, for tests: a private folder, and its processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.guest import COMMAND
from virtio_trace.vm.host import debian


@dataclass(slots=True)
class Host:
    """A folder to boot in, and the kernel to boot."""

    folder: Path
    kernel: debian.KernelPackage
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> list[str]:
        """The kernel by its files, not by a package."""
        return ["--kernel", str(self.kernel.vmlinuz), "--modules", str(self.kernel.modules)]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts our command in the folder."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, list[str]]:
        """Exit status, standard output and the lines of standard error, without a traceback."""
        child = self.start(*arguments)
        out, err = child.communicate(timeout=120)
        return child.returncode, out, said(err)

    def left(self) -> list[str]:
        """Files that should not be left: temporary ones, and others in the recording's folder."""
        own = {"bin", "cache", "tmp"}
        return [
            *(path.name for path in (self.folder / "tmp").iterdir()),
            *(path.name for path in (self.folder / "cache/virtio-trace").glob("tmp-*")),
            *(path.name for path in self.folder.iterdir() if path.name not in own),
        ]


def said(err: str) -> list[str]:
    """The lines of standard error, but not what a slow machine waited for ("reading …")."""
    assert "Traceback" not in err, err
    return [line for line in err.splitlines() if line.strip() and not line.endswith("…")]


def processes() -> Iterator[tuple[int, int, str]]:
    """Each process's pid, its parent's and its name, from /proc."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = path.read_text("utf-8", errors="replace").rpartition(")")
        except OSError:
            continue
        number, _, name = before.partition(" (")
        yield int(number), int(after.split()[1]), name


def qemu_of(child: subprocess.Popen[str]) -> int:
    """The pid of CHILD's QEMU, as soon as it has started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()
        for number, parent, name in processes():
            if parent == child.pid and name.startswith("qemu-system"):
                return number
        time.sleep(0.02)
    raise AssertionError("no QEMU was started")


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process has ended, or ends within SECONDS."""
    deadline = time.monotonic() + seconds
    while any(number == pid for number, _, _ in processes()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
