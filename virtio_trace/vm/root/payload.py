# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's modules for a guest of ours.

The whole module tree goes in. Measured under TCG with 6.1 (91 MB), compared with the virtio drivers
and their dependencies alone: 0.7 s more to unpack, and 2 of 15 s in all, with what loading drivers
by modalias then finds; 6.12 (21 MB, .xz) 1.3 of 17 s. It is worth that: leaving out a driver would
leave its device unbound, --run may modprobe anything, and what a kernel's files say is read from
the same tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import virtio_trace
from virtio_trace.errors import BadInputError
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.programs import run
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
