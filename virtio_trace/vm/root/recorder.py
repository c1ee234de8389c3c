# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder in a guest: an executor, a Python for it, and a plan, in one folder of its own.

The first process (rdinit=) is a script in that folder, whose interpreter is the folder's own
Python. So nothing in the guest is needed, and nothing is met: the folder is removed before the
system's own first process starts (tracer/executor/first.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import virtio_trace
from virtio_trace.kernel.files.machine import Machine
from virtio_trace.vm.host.programs import Progress, quiet
from virtio_trace.vm.root import guest_python
from virtio_trace.vm.root.cpio import Writer
from virtio_trace.vm.root.until import Look

LineSink = Callable[[bytes], None]
"""Consumes a line, its newline included."""

FOLDER = "virtio-trace"

FIRST = f"rdinit=/{FOLDER}/early LD_LIBRARY_PATH=/{FOLDER}/lib"
"""For the kernel's command line. The kernel hands what it does not know, as the second, to the
first process as its environment (init/main.c, unknown_bootoption)."""

_EARLY = f"""#!/{FOLDER}/{guest_python.PROGRAM} {guest_python.FLAGS}
import sys
from virtio_trace.tracer.executor.first import main
main(sys.argv[1:])
"""

_PACKAGE = Path(virtio_trace.__file__).resolve().parent
_SOURCES = ("__init__.py", "tracer/__init__.py", "tracer/executor/*.py")


class FrameSink(Protocol):
    """Assembles a recording of frames (tracer/session/guest_recording.py)."""

    @property
    def failure(self) -> str | None:
        """Why the guest's executor could not arm; None: it could, or has not begun."""

    @property
    def began(self) -> bool:
        """Whether everything is armed."""

    def records(self, payload: bytes) -> None:
        """A frame of ring records."""

    def section(self, payload: bytes) -> None:
        """A frame with a section."""

    def lose(self, records: int) -> None:
        """RECORDS, or a section (0), were lost on the way."""

    def end(self) -> None:
        """The last frame came."""

    def looks(self) -> list[Look]:
        """What was seen of the guest since the last call, in order."""


@dataclass(frozen=True, slots=True)
class ExecutorSetup:
    """What a guest's executor carries out, PLAN as a file, and who makes a recording of what it
    sends: ``assemble(sink)`` passes its lines on to SINK. ``unpack`` returns the unpacked content
    of a module's file."""

    plan: bytes
    assemble: Callable[[LineSink], FrameSink]
    unpack: Callable[[Path], bytes] = Path.read_bytes


@dataclass(frozen=True, slots=True)
class FirstProcess:
    """What comes after the recorder: ``path`` is the system's own first process. ``own``: it is
    guest/own, which says when the recording ends. ``keep`` names the files in our folder that it
    needs."""

    path: str
    own: bool = False
    keep: tuple[str, ...] = ()


def add(
    root: Writer,
    machine: Machine,
    setup: ExecutorSetup,
    after: FirstProcess,
    progress: Progress = quiet,
) -> None:
    """Adds the recorder for a guest of MACHINE. Raises CannotTraceError, BadInputError."""
    task = {
        "port": machine.port,
        "next": after.path,
        "own": "yes" if after.own else "no",
        "keep": " ".join(after.keep),
    }
    root.file(f"{FOLDER}/early", _EARLY.encode(), 0o755)
    root.file(f"{FOLDER}/plan", setup.plan)
    lines = (f"{name}={value}\n" for name, value in task.items())
    root.file(f"{FOLDER}/task", "".join(lines).encode())
    guest_python.add(root, FOLDER, machine, programs(), progress)


def programs() -> Mapping[str, bytes]:
    """The sources of the executor, by their paths as modules."""
    paths = (path for pattern in _SOURCES for path in sorted(_PACKAGE.glob(pattern)))
    return {f"{_PACKAGE.name}/{path.relative_to(_PACKAGE)}": path.read_bytes() for path in paths}
