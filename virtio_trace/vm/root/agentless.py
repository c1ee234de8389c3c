# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of a guest without an agent: a static busybox, the kernel's modules, and a script.

The script (guest/plain) prints the kernel's trace ring, and the host interprets it. So any machine
works for which Debian has a busybox; it is fetched for that machine.

Modules go in unchanged. busybox first gives the kernel the compressed file, which it refuses
("Invalid ELF header magic" in its log), and then unpacks .xz and .gz itself. It cannot unpack .zst,
so these go in unpacked, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import Machine
from virtio_trace.vm.host import apt, cache
from virtio_trace.vm.host.packages import unpack
from virtio_trace.vm.host.programs import Progress, quiet
from virtio_trace.vm.root import payload
from virtio_trace.vm.root.cpio import Writer

LineSink = Callable[[bytes], None]
"""Consumes a line, its newline included."""

SUITE = "bookworm"
PACKAGE = "busybox-static"

_FOLDERS = ("dev", "proc", "sys", "run", "root", "etc", "tmp", "bin", "virtio-trace")
_LINKS = {"sbin": "bin", "usr/bin": "../bin", "usr/sbin": "../bin", "lib": "usr/lib"}


@dataclass(frozen=True, slots=True)
class AgentlessSetup:
    """What such a guest traces. ``parameters`` go on the kernel's command line. ``definitions`` are
    lines for kprobe_events and ``enable`` lines for set_event; both are written before the first
    module is loaded. ``assemble(sink)`` returns a consumer of the guest's lines that passes a
    recording's lines on to SINK. ``unpack`` returns the unpacked content of a module's file."""

    parameters: str
    assemble: Callable[[LineSink], LineSink]
    definitions: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    unpack: Callable[[Path], bytes] = Path.read_bytes


def busybox(machine: Machine, progress: Progress = quiet) -> Path:
    """A static busybox for MACHINE, fetched if it is not in the cache.

    Raises CannotTraceError if the mirror cannot be reached.
    """
    path = cache.root() / f"busybox-{SUITE}-{machine.debian}"
    with cache.lock("busybox"):
        if not path.exists():
            suite = apt.Suite(SUITE, None if machine.native else machine.debian)
            with cache.scratch("busybox") as scratch:
                tree = unpack(suite, [PACKAGE], scratch, progress)
                found = [p for p in tree.glob("**/bin/busybox") if p.is_file()]
                if not found:
                    raise CannotTraceError(f"{SUITE}'s {PACKAGE} has no busybox")
                try:
                    found[0].replace(path)
                except OSError as error:
                    raise cache.cannot("cannot write to the cache", path, error) from error
    return path


def write(
    out: BinaryIO,
    program: Path,
    modules: Path,
    setup: AgentlessSetup,
    *,
    machine: Machine,
    task: str | None,
) -> None:
    """Writes the root of a MACHINE to OUT. PROGRAM is busybox, TASK the shell text of --run.

    MODULES is only read. Raises CannotTraceError, BadInputError.
    """
    guest = payload.PACKAGE / "vm" / "guest"
    try:
        with Writer(out) as root:
            for name in _FOLDERS:
                root.folder(name)
            for name, target in _LINKS.items():
                root.link(name, target)
            # The kernel opens it for /init before anything is mounted.
            root.device("dev/console", 5, 1)
            root.device("dev/null", 1, 3, 0o666)
            root.file("bin/busybox", program.read_bytes(), 0o755)
            root.link("bin/sh", "busybox")
            root.file("init", (guest / "plain").read_bytes(), 0o755)
            root.file("etc/modprobe.d/virtio-trace.conf", payload.BLACKLIST)
            root.file("virtio-trace/drive", (guest / "drive").read_bytes(), 0o755)
            root.file("virtio-trace/port", f"{machine.port}\n".encode())
            for name, lines in (("definitions", setup.definitions), ("enable", setup.enable)):
                root.file(f"virtio-trace/{name}", "".join(f"{x}\n" for x in lines).encode())
            if task is not None:
                root.file("virtio-trace/run", task.encode() + b"\n", 0o755)
            payload.add_modules(root, modules, setup.unpack)
    except EOFError as error:
        raise BadInputError(f"{modules}: {error}") from error
