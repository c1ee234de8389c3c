# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of a guest of ours: a static busybox, the kernel's modules, and a first process.

busybox is fetched for the guest's machine, so any works for which Debian has one.

Modules go in unchanged. busybox first gives the kernel the compressed file, which it refuses
("Invalid ELF header magic" in its log), and then unpacks .xz and .gz itself. It cannot unpack .zst,
so these go in unpacked, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import Machine
from virtio_trace.vm.host import apt, cache
from virtio_trace.vm.host.packages import unpack
from virtio_trace.vm.host.programs import Progress, quiet
from virtio_trace.vm.root import payload
from virtio_trace.vm.root.cpio import Writer, append_file

SUITE = "bookworm"
PACKAGE = "busybox-static"

_FOLDERS = ("dev", "proc", "sys", "run", "root", "etc", "tmp", "bin", "virtio-trace")
_LINKS = {"sbin": "bin", "usr/bin": "../bin", "usr/sbin": "../bin", "lib": "usr/lib"}


@dataclass(frozen=True, slots=True)
class OwnRoot:
    """``script``: the first process, a file of vm/guest. ``files`` go into virtio-trace/. ``task``
    is the shell text of --run. ``base``: an archive in place of the busybox, with a shell, busybox
    and modprobe in its usr/bin and usr/sbin. ``unpack`` returns the unpacked content of a module's
    file."""

    script: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    task: str | None = None
    base: Path | None = None
    unpack: Callable[[Path], bytes] = Path.read_bytes


def busybox(machine: Machine, progress: Progress = quiet) -> Path:
    """A static busybox for MACHINE, fetched if it is not in the cache.

    Raises CannotTraceError if the mirror cannot be reached.
    """
    path = cache.root() / f"busybox-{SUITE}-{machine.debian}"
    with cache.lock("busybox", progress):
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
    modules: Path,
    own: OwnRoot,
    program: Path | None,
    more: Callable[[Writer], None] = lambda _root: None,
) -> None:
    """Writes a root to OUT. MODULES is only read. PROGRAM is busybox; None: OWN has a base. MORE
    adds to it.

    Raises OSError, CannotTraceError, BadInputError.
    """
    guest = payload.PACKAGE / "vm" / "guest"
    if own.base is not None:
        append_file(out, own.base)
        out.write(b"\0" * (-out.tell() % 4))  # an archive begins at a multiple of four bytes
    try:
        with Writer(out) as root:
            if program is not None:
                _skeleton(root, program)
            root.file("init", (guest / own.script).read_bytes(), 0o755)
            root.file("etc/modprobe.d/virtio-trace.conf", payload.BLACKLIST)
            root.file("virtio-trace/drive", (guest / "drive").read_bytes(), 0o755)
            for name, data in own.files.items():
                root.file(f"virtio-trace/{name}", data)
            if own.task is not None:
                root.file("virtio-trace/run", own.task.encode() + b"\n", 0o755)
            more(root)
            payload.add_modules(root, modules, own.unpack)
    except EOFError as error:
        raise BadInputError(f"{modules}: {error}") from error


def _skeleton(root: Writer, program: Path) -> None:
    for name in _FOLDERS:
        root.folder(name)
    for name, target in _LINKS.items():
        root.link(name, target)
    # The kernel opens it for /init before anything is mounted.
    root.device("dev/console", 5, 1)
    root.device("dev/null", 1, 3, 0o666)
    root.file("bin/busybox", program.read_bytes(), 0o755)
    root.link("bin/sh", "busybox")
