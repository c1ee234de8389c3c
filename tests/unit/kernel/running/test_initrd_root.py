# SPDX-License-Identifier: GPL-2.0-or-later
"""The initrd that process 1 runs in, while the recorder runs outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtio_trace.kernel.running.initrd import InitrdRoot
from virtio_trace.recording.machine_state import Initrd

WANTED = {"virtio_blk", "virtio_net", "virtio_rng"}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc whose process 1 has an initrd as its root."""
    proc, root = tmp_path / "proc", tmp_path / "initrd"
    (proc / "1").mkdir(parents=True)
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/osrelease").write_text("6.1\n")
    (proc / "1/root").symlink_to(root)
    mounts = "rootfs / rootfs rw,size=1k 0 0\nproc /proc proc rw 0 0\n"
    (proc / "1/mounts").write_text(mounts)
    block = root / "usr/lib/modules/6.1/kernel/drivers/block"
    block.mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for name in ("virtio_blk.ko.xz", "virtio-rng.ko", "loop.ko", "virtio_net.txt"):
        (block / name).touch()
    return proc


def test_modules_in_the_initrd(proc: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    beside = ours / "usr/lib/modules/6.1/kernel/drivers/block"
    beside.mkdir(parents=True)
    (beside / "virtio_blk.ko").touch()
    first = InitrdRoot(proc, ours)
    assert first.modules(WANTED) == Initrd(("virtio_blk", "virtio_rng"), only=True)
    (beside / "virtio_net.ko.xz").touch()
    assert first.modules(WANTED) == Initrd(("virtio_blk", "virtio_rng"))
    assert first.is_left() is False
    (tmp_path / "system").mkdir()
    (proc / "1/root").unlink()
    (proc / "1/root").symlink_to(tmp_path / "system")
    assert first.is_left() is True


def test_our_own_root_does_not_count(proc: Path, tmp_path: Path) -> None:
    """As in every recording on a running machine, and in our own guests."""
    first = InitrdRoot(proc, tmp_path / "initrd")
    assert (first.modules(WANTED), first.is_left()) == (None, None)


@pytest.mark.parametrize(
    "mounts", ["/dev/vda1 / ext4 rw 0 0\n", "", "rootfs / rootfs\noverlay / overlay rw 0 0\n"]
)
def test_a_root_on_a_disk_is_not_an_initrd(proc: Path, tmp_path: Path, mounts: str) -> None:
    """In a container, the recorder and process 1 have different roots too."""
    (proc / "1/mounts").write_text(mounts)
    assert InitrdRoot(proc, tmp_path).modules(WANTED) is None


def test_process_1_cannot_be_read(tmp_path: Path) -> None:
    first = InitrdRoot(tmp_path / "none", tmp_path)
    assert (first.modules(WANTED), first.is_left()) == (None, None)
