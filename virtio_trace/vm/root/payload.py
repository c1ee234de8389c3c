# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes into a guest behind the appliance: our package, the kernel's modules, this boot's task.

A second cpio, written for every boot: a change of our code rebuilds nothing.

The whole module tree goes in. Measured under TCG with 6.1 (91 MB), against the virtio drivers and
what they need alone: 0.7 s more to unpack, and 2 of 15 s in all with what udev's way of loading
drivers then finds; 6.12 (21 MB, .xz) 1.3 of 17 s. It is worth that: a driver that was left out
would be a device unbound by our doing, --run may modprobe anything, and what a kernel's files say
is read from the same tree.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import virtio_trace
from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.programs import run
from virtio_trace.vm.root import appliance
from virtio_trace.vm.root.cpio import Writer

PACKAGE = Path(virtio_trace.__file__).resolve().parent
"""The folder of the package virtio_trace that runs."""

_LINKS = ("build", "source", "vmlinuz")
"""What is no module in such a folder: links to headers, and from 7.2 the kernel itself."""

BLACKLIST = b"blacklist kvm_amd\nblacklist kvm_intel\n"
"""A guest of ours is nobody's host, and loading these takes an emulated processor a second.

Not by -cpu max,-svm: under TCG of QEMU 7.2 a 6.1 kernel's processes then die at random.
"""

_READ = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
"""What depmod reads there; every other modules.* it makes."""


def check_modules(folder: Path) -> Path:
    """The module FOLDER, resolved. Raises BadInputError where it is no …/lib/modules/RELEASE."""
    try:
        path = folder.resolve(strict=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise BadInputError(f"{folder}: {error.strerror}", "give a lib/modules/RELEASE") from error
    if path.parent.name != "modules" or path.parent.parent.name != "lib" or "kernel" not in names:
        raise BadInputError(
            f"{folder} is not a kernel's module folder",
            "give its lib/modules/RELEASE, the folder that holds kernel/",
        )
    return path


def write(out: BinaryIO, modules: Path, task: str | None) -> None:
    """Appends the second cpio to OUT.

    TASK is the shell text of --run. MODULES is read, never written to. Raises CannotTraceError,
    BadInputError.
    """
    try:
        with Writer(out) as root:
            guest = PACKAGE / "vm" / "guest"
            root.file("init", (guest / "init").read_bytes(), 0o755)
            root.file("etc/modprobe.d/virtio-trace.conf", BLACKLIST)
            root.file("virtio-trace/drive", (guest / "drive").read_bytes(), 0o755)
            if task is not None:
                root.file("virtio-trace/run", task.encode() + b"\n", 0o755)
            target = f"{appliance.PYTHON_FOLDER}/virtio_trace"
            add_package(root, PACKAGE, target)
            add_tree(root, bpf_folder(), f"{target}/bpf")
            add_modules(root, modules)
    except EOFError as error:
        raise BadInputError(f"{modules}: {error}") from error
    except OSError as error:
        raise CannotTraceError(
            f"cannot write the guest's files: {error.filename or ''} {error.strerror}".replace(
                "  ", " "
            )
        ) from error


def add_package(root: Writer, package: Path, target: str) -> None:
    """Puts the Python PACKAGE into folder TARGET, with its byte code where Python is the guest's.

    Compiling it anew costs an emulated processor a second or two.
    """
    for path in sorted(package.rglob("*.py")):
        name = f"{target}/{path.relative_to(package)}"
        source = path.read_bytes()
        root.file(name, source)
        if sys.version_info[:2] == appliance.PYTHON:
            cached = importlib.util.cache_from_source(name, optimization="")
            root.file(cached, byte_code(source, f"/{name}"))


def byte_code(source: bytes, name: str) -> bytes:
    """A .pyc that Python believes without a look at its source (PEP 552, unchecked hash).

    A source that does not compile gives none (b""): Python then reads the source and says why.
    """
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return b""
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
    return head + importlib.util.source_hash(source) + marshal.dumps(code)


def add_modules(root: Writer, modules: Path, unpack: Callable[[Path], bytes] | None = None) -> None:
    """Puts the tree of a …/lib/modules/RELEASE in, with index files made by depmod on the side.

    With UNPACK, .ko.zst as what that gives of them. Raises OSError, EOFError, VirtioTraceError.
    """
    target = f"usr/lib/modules/{modules.name}"
    with cache.scratch("depmod") as scratch:
        indexes = index(modules, scratch)
        for path in indexes:
            root.file(f"{target}/{path.name}", path.read_bytes())
        done = {path.name for path in indexes}
    for entry in sorted(modules.iterdir()):
        if entry.name in _LINKS or entry.name in done:
            continue
        if entry.is_dir():
            add_tree(root, entry, f"{target}/{entry.name}", unpack)
        elif entry.name.startswith("modules."):
            root.file(f"{target}/{entry.name}", entry.read_bytes())


def index(modules: Path, scratch: Path) -> list[Path]:
    """Lets depmod index MODULES in folder SCRATCH; gives the files that it made.

    depmod writes beside the modules that it reads (kmod 30, Debian 12's, has no --outdir), so it
    gets a folder of links. Raises OSError, CannotTraceError.
    """
    beside = cache.folder(scratch / "lib" / "modules" / modules.name)
    # Where kmod was built for a merged /usr it looks there.
    (scratch / "usr").symlink_to(".")
    for entry in modules.iterdir():
        made = entry.name.startswith("modules.") and entry.name not in _READ
        if not made and entry.name not in _LINKS:
            (beside / entry.name).symlink_to(entry)
    argv = ["depmod", "-b", str(scratch), modules.name]
    run(argv, f"indexing the modules of {modules.name}")
    return sorted(path for path in beside.glob("modules.*") if not path.is_symlink())


def add_tree(
    root: Writer, source: Path, target: str, unpack: Callable[[Path], bytes] | None = None
) -> None:
    """Puts the files of folder SOURCE into TARGET, each as UNPACK gives it; none where there is no
    such folder."""
    for folder, folders, files in os.walk(source):
        folders.sort()
        name = f"{target}/{Path(folder).relative_to(source)}".removesuffix("/.")
        for file in sorted(files):
            path = Path(folder) / file
            if unpack is not None and file.endswith(".ko.zst"):
                root.file(f"{name}/{file}", unpack(path))
                continue
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                root.stream(f"{name}/{file}", stream, size)
