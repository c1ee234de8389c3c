# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images for the harnesses that run debugfs, sfdisk and blkid."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

_PATCH = struct.Struct("<IB")
"""The place in the image, and how many bytes follow for it."""


def patched(base: bytes, patches: bytes) -> bytes:
    """BASE with PATCHES applied. An image is large; an input should be small."""
    out = bytearray(base)
    at = 0
    while at + _PATCH.size <= len(patches):
        place, size = _PATCH.unpack_from(patches, at)
        at += _PATCH.size
        part = patches[at : at + size]
        place %= len(out)
        part = part[: len(out) - place]
        out[place : place + len(part)] = part
        at += size
    return bytes(out)


def patches(base: bytes, image: bytes) -> bytes:
    """The patches that turn BASE into IMAGE, which is as long."""
    out = bytearray()
    at = 0
    while at < len(image):
        if image[at] == base[at]:
            at += 1
            continue
        end = at + 1
        while end < min(len(image), at + 255) and image[end] != base[end]:
            end += 1
        out += _PATCH.pack(at, end - at) + image[at:end]
        at = end
    return bytes(out)


_UUID = "5f6d1f0e-8b7c-4c39-9d51-0a5b1c3e7a11"


@cache
def ext2() -> bytes:
    """A file system of 64 KB with a file, links of both kinds and a folder, by mke2fs."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        (tree / "boot").mkdir(parents=True)
        (tree / "boot" / "file").write_bytes(b"content\n" * 200)
        (tree / "short").symlink_to("boot/file")
        (tree / "long").symlink_to("boot/" + "./" * 60 + "file")
        image = Path(folder) / "image"
        image.write_bytes(bytes(64 << 10))
        seed = f"hash_seed={_UUID},root_owner=0:0"
        options = ("-t", "ext2", "-b", "1024", "-N", "24", "-m", "0", "-U", _UUID, "-E", seed)
        command = ("mke2fs", "-q", "-F", *options, "-d", str(tree), str(image))
        program = shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        always = {**os.environ, "E2FSPROGS_FAKE_TIME": "1700000000"}
        subprocess.run(command, check=True, executable=program, env=always)
        return image.read_bytes()


@cache
def fat() -> bytes:
    """A file system of 64 KB with two folders and a file, by mkfs.vfat and mtools."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory() as folder:
        image, loader = Path(folder) / "image", Path(folder) / "loader"
        (loader / "entries").mkdir(parents=True)
        (loader / "loader.conf").write_text("timeout 3\n" * 200)
        for command in (
            ("mkfs.vfat", "-i", "12345678", "--invariant", "-C", str(image), "64"),
            ("mcopy", "-s", "-i", str(image), str(loader), "::/"),
        ):
            environment = {**os.environ, "MTOOLSRC": "/dev/null"}
            program = shutil.which(command[0], path=path)
            subprocess.run(
                command, check=True, executable=program, env=environment, stdout=subprocess.DEVNULL
            )
        return image.read_bytes()


def disk() -> bytes:
    """An empty disk of 256 KB, for a partition table."""
    return bytes(256 << 10)
