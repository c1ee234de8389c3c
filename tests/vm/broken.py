# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules that a kernel refuses: a Debian kernel's tree with some of its .ko files damaged."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

_MARKER = b"~Module signature appended~\n"
"""The end of a signed module (include/linux/module_signature.h)."""

Damage = Callable[[bytes], bytes]


def tree(modules: Path, target: Path, damage: Mapping[str, Damage]) -> Path:
    """The folder MODULES, lib/modules/RELEASE, copied to TARGET with the modules in DAMAGE changed:
    names of files without their suffix."""
    found = target / "lib/modules" / modules.name
    shutil.copytree(modules, found, symlinks=True, ignore=shutil.ignore_patterns("build", "source"))
    for name, change in damage.items():
        (path,) = found.rglob(f"{name}.ko*")
        if path.suffix == ".xz":
            path.write_bytes(
                lzma.compress(
                    change(lzma.decompress(path.read_bytes())), lzma.FORMAT_XZ, lzma.CHECK_CRC32
                )
            )
        else:
            path.write_bytes(change(path.read_bytes()))
    return found


def unsigned(data: bytes) -> bytes:
    """Without its signature: struct module_signature ends with the length, big-endian."""
    assert data.endswith(_MARKER)
    rest = data.removesuffix(_MARKER)
    return rest[: -12 - int.from_bytes(rest[-4:], "big")]


def altered(data: bytes) -> bytes:
    """Signed, but other than what was signed: one letter of its description."""
    assert data.endswith(_MARKER) and data.count(b"description=V") == 1
    return data.replace(b"description=V", b"description=W")


def other_magic(data: bytes) -> bytes:
    """Unsigned, and built for a kernel of another configuration. Where symbols have versions, the
    kernel does not compare the release (kernel/module/version.c, same_magic)."""
    found = unsigned(data)
    at = found.index(b" SMP ", found.index(b"vermagic="))
    return found[:at] + b" XMP " + found[at + 5 :]


def truncated(data: bytes) -> bytes:
    """Its first half."""
    return data[: len(data) // 2]
