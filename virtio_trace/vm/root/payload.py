# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest gets after the appliance: our package, the kernel's modules, this boot's task.

It is a second cpio, written for every boot: a change of our code rebuilds nothing.

The whole module tree goes in. Measured under TCG with 6.1 (91 MB), compared with the virtio drivers
and their dependencies alone: 0.7 s more to unpack, and 2 of 15 s in all, with what loading drivers
by modalias then finds; 6.12 (21 MB, .xz) 1.3 of 17 s. It is worth that: leaving out a driver would
leave its device unbound, --run may modprobe anything, and what a kernel's files say is read from
the same tree.
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
"""The folder of the running package virtio_trace."""

_LINKS = ("build", "source", "vmlinuz")
"""What is not a module in such a folder: links to headers, and from 7.2 on the kernel itself."""

BLACKLIST = b"blacklist kvm_amd\nblacklist kvm_intel\n"
"""Our guests are not hypervisors, and loading these takes an emulated processor a second.

-cpu max,-svm is no alternative: under TCG of QEMU 7.2 processes of a 6.1 kernel then die at random.
"""

_READ = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
"""What depmod reads there. It creates every other modules.*."""


def check_modules(folder: Path) -> Path:
    """The module FOLDER, resolved. Raises BadInputError if it is not a …/lib/modules/RELEASE."""
    try:
        path = folder.resolve(strict=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise BadInputError(f"{folder}: {error.strerror}", "give a lib/modules/RELEASE") from error
    if path.parent.name != "modules" or path.parent.parent.name != "lib" or "kernel" not in names:
        raise BadInputError(
            f"{folder} is not a kernel's module folder",
            "give its lib/modules/RELEASE, the folder that has kernel/",
        )
    return path


def write(out: BinaryIO, modules: Path, task: str | None) -> None:
    """Appends the second cpio to OUT.

    TASK is the shell text of --run. MODULES is only read. Raises CannotTraceError, BadInputError.
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
    """Adds the Python PACKAGE in folder TARGET; with byte code if our Python is the guest's.

    Compiling it takes an emulated processor a second or two.
    """
    for path in sorted(package.rglob("*.py")):
        name = f"{target}/{path.relative_to(package)}"
        source = path.read_bytes()
        root.file(name, source)
        if sys.version_info[:2] == appliance.PYTHON:
            cached = importlib.util.cache_from_source(name, optimization="")
            root.file(cached, byte_code(source, f"/{name}"))


def byte_code(source: bytes, name: str) -> bytes:
    """A .pyc that Python uses without checking its source (PEP 552, unchecked hash).

    b"" for a source that does not compile: Python then reads the source and reports the error.
    """
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return b""
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
    return head + importlib.util.source_hash(source) + marshal.dumps(code)


def add_modules(root: Writer, modules: Path, unpack: Callable[[Path], bytes] | None = None) -> None:
    """Adds the tree of a …/lib/modules/RELEASE, with index files that depmod creates elsewhere.

    With UNPACK, each .ko.zst goes in as UNPACK returns it. Raises OSError, EOFError,
    VirtioTraceError.
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
    """Runs depmod for MODULES in folder SCRATCH. Returns the files that it created.

    depmod writes next to the modules that it reads (kmod 30, Debian 12's, has no --outdir), so it
    gets a folder of links. Raises OSError, CannotTraceError.
    """
    beside = cache.folder(scratch / "lib" / "modules" / modules.name)
    # kmod that is built for a merged /usr looks there.
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
    """Adds the files of folder SOURCE in TARGET; none if there is no such folder. With UNPACK, each
    .ko.zst goes in as UNPACK returns it."""
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
