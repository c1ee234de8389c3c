# SPDX-License-Identifier: GPL-2.0-or-later
"""Initrds for the tests, by cpio and the programs that distributions compress with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from virtio_trace.vm.disk import initrd_modules
from virtio_trace.vm.host.programs import quiet

RELEASE = "6.1.0-56-cloud-amd64"

PROGRAMS = {
    "plain": ("cat",),
    "gzip": ("gzip", "-1c"),
    "xz": ("xz", "-0c", "--check=crc32"),
    "lzma": ("xz", "-0c", "--format=lzma"),
    "bzip2": ("bzip2", "-c"),
    "zstd": ("zstd", "-1qc"),
    "lz4": ("lz4", "-lc"),
}
"""As initramfs-tools and dracut call them, but for the level."""

MODULES = {
    "modules.dep": b"kernel/drivers/block/virtio_blk.ko:\nkernel/fs/ext4.ko:\n",
    "modules.builtin": b"kernel/drivers/virtio/virtio.ko\n",
    "kernel/drivers/block/virtio_blk.ko": b"block" * 500_000,
    "kernel/fs/ext4.ko": b"ext4" * 1000,
}

KEPT = {name: data for name, data in MODULES.items() if "ext4" not in name}
"""What may concern VirtIO, and the lists."""


def archive(folder: Path, files: dict[str, bytes]) -> bytes:
    """A cpio archive of FILES, by GNU cpio. FOLDER must be new."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return packed(folder)


def packed(folder: Path) -> bytes:
    """The archive of a folder, by GNU cpio."""
    script = "find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet"
    return subprocess.run(["sh", "-c", script], cwd=folder, check=True, capture_output=True).stdout


def compressed(data: bytes, kind: str) -> bytes:
    """DATA through one of PROGRAMS."""
    return subprocess.run(PROGRAMS[kind], input=data, check=True, capture_output=True).stdout


def modules(prefix: str = "usr/lib/modules", release: str = RELEASE) -> dict[str, bytes]:
    """MODULES by their paths in an initrd."""
    return {f"{prefix}/{release}/{name}": data for name, data in MODULES.items()}


def extract(
    tmp_path: Path, *initrds: bytes, release: str | None = RELEASE
) -> tuple[dict[str, bytes] | None, list[str]]:
    """What is extracted from INITRDS: the content of each file, or None; and the notes."""
    paths = []
    for number, data in enumerate(initrds):
        paths.append(tmp_path / f"initrd-{number}")
        paths[-1].write_bytes(data)
    notes: list[str] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tree = initrd_modules.extract(paths, release, scratch, quiet, notes)
    if tree is None:
        return None, notes
    assert tree.parent == scratch / "lib/modules"
    assert (tree / "kernel").is_dir()
    found = {str(p.relative_to(tree)): p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    return found, notes
