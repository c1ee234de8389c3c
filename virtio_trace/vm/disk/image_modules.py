# SPDX-License-Identifier: GPL-2.0-or-later
"""Extracts a kernel's modules from an image: their lists, and the files that may concern VirtIO."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.disk.volume import MOST_TEXT, Volume

MOST_MODULE = 256 << 20
MOST_LIST = 64 << 20
"""Bytes of a module, and of a list of modules."""

_CONFIGURATION = ("etc/modprobe.d", "usr/lib/modprobe.d", "usr/local/lib/modprobe.d")

RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+~-]{0,127}")


def extract(readable: Sequence[Volume], vmlinuz: Path, tree: Path) -> Path | None:
    """Extracts the modules of the kernel VMLINUZ into folder TREE.

    Returns the folder lib/modules/RELEASE there; None if there is none. Raises BadInputError.
    """
    name = release(vmlinuz)
    for volume in readable:
        for base in ("/usr/lib/modules", "/lib/modules"):
            source = posixpath.join(base, name)
            if name and volume.is_folder(source):
                return _dump_modules(volume, source, tree / "lib/modules" / name)
    return None


def configuration(readable: Sequence[Volume], tree: Path) -> None:
    """Extracts what keeps modules from being loaded (modprobe.d(5)) into folder TREE.

    It is that of the first file system with a folder /etc. Raises BadInputError.
    """
    root = next((volume for volume in readable if volume.is_folder("/etc")), None)
    for folder in _CONFIGURATION if root is not None else ():
        assert root is not None
        paths = root.files(f"/{folder}")
        root.dump_all(((path, tree / path.lstrip("/")) for path in paths), MOST_TEXT)


def _dump_modules(volume: Volume, source: str, target: Path) -> Path:
    lists = [
        name
        for name in volume.names(source)
        if name.startswith("modules.") and volume.is_file(f"{source}/{name}")
    ]
    volume.dump_all(((f"{source}/{name}", target / name) for name in lists), MOST_LIST)
    there = {posixpath.relpath(path, source) for path in volume.files(source)}
    files = wanted(target, sorted(there), volume.where.name)
    (target / "kernel").mkdir(parents=True, exist_ok=True)
    modules = [
        name
        for name in files
        if name not in lists and (name in there or volume.is_file(f"{source}/{name}"))
    ]
    volume.dump_all(((f"{source}/{name}", target / name) for name in modules), MOST_MODULE)
    return target


def wanted(tree: Path, files: list[str], where: str) -> list[str]:
    """Those of the modules FILES that may concern VirtIO, by the lists that are in folder TREE.

    Raises BadInputError if a list names files outside of its folder; WHERE says whose it is.
    """
    if not (tree / "modules.dep").exists():
        return files
    known = ModuleTree(tree)
    if known.outside:
        raise BadInputError(
            f"{where}: modules.dep names {known.outside[0]!r:.200}, outside its folder"
        )
    return list(known.virtio_candidates())


def release(vmlinuz: Path) -> str:
    """The release in an x86 kernel image (Documentation/arch/x86/boot.rst, kernel_version).

    "" if it has none, or one that cannot be the name of a folder.
    """
    with vmlinuz.open("rb") as file:
        head = file.read(0x10000)
    at = int.from_bytes(head[0x20E:0x210], "little")
    text = head[at + 0x200 : at + 0x200 + 256].split(b"\0", 1)[0] if at else b""
    words = text.decode("ascii", "replace").split()
    return words[0] if words and RELEASE.fullmatch(words[0]) else ""
