# SPDX-License-Identifier: GPL-2.0-or-later
"""What grub-fstest reads: real file systems by their own programs, LVM, and hostile ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.vm.disk import esp, lvm
from tests.unit.vm.disk.test_extract import _RELEASE, file_system, root, take, tool, vmlinuz
from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import fstest, partitions, volumes
from virtio_trace.vm.disk.fstest import GrubVolume
from virtio_trace.vm.host.programs import PACKAGES

__all__ = ["root"]


def xfs(top: Path, target: Path) -> Path:
    """The files of TOP as an xfs, by a prototype file (mkfs.xfs(8))."""

    def lines(folder: Path) -> list[str]:
        found = []
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                found.append(f"{path.name} l--777 0 0 {path.readlink()}")
            elif path.is_dir():
                found += [f"{path.name} d--755 0 0", *lines(path), "$"]
            else:
                found.append(f"{path.name} ---644 0 0 {path}")
        return found

    proto = target.with_name("proto")
    proto.write_text("\n".join(["/stub", "0 0", "d--755 0 0", *lines(top), "$", ""]))
    with target.open("wb") as file:
        file.truncate(300 << 20)
    tool("mkfs.xfs", "-q", "-f", "-p", str(proto), str(target))
    return target


def btrfs(top: Path, target: Path) -> Path:
    """The files of TOP as a btrfs."""
    with target.open("wb") as file:
        file.truncate(120 << 20)
    tool("mkfs.btrfs", "-q", "-r", str(top), str(target))
    return target


def f2fs(top: Path, target: Path) -> Path:
    """The files of TOP as an f2fs."""
    with target.open("wb") as file:
        file.truncate(120 << 20)
    tool("mkfs.f2fs", "-q", str(target))
    tool("sload.f2fs", "-f", str(top), str(target))
    return target


def squashfs(top: Path, target: Path) -> Path:
    """The files of TOP as a squashfs, compressed by xz."""
    tool("mksquashfs", str(top), str(target), "-quiet", "-no-progress", "-comp", "xz")
    return target


def opened(file: Path, scratch: Path) -> GrubVolume:
    """The file system in FILE, in a partition."""
    scratch.mkdir()
    esp.disk(scratch / "disk.raw", (esp.ROOT, file, ""))
    (place,) = partitions.file_systems("disk.raw", scratch)
    (volume,) = volumes.opened("disk.raw", [place], scratch)
    assert isinstance(volume, GrubVolume)
    return volume


def test_a_system_on_xfs(root: Path, tmp_path: Path) -> None:
    path = esp.disk(tmp_path / "disk.img", (esp.ROOT, xfs(root, tmp_path / "xfs"), ""))
    system = take(path, tmp_path)
    assert system.vmlinuz.read_bytes() == vmlinuz(_RELEASE)
    assert system.notes == ["disk.img boots Debian GNU/Linux, by /boot/grub/grub.cfg"]
    assert system.modules is not None and not system.only_initrd
    net = system.modules / "kernel/drivers/virtio_net.ko"
    assert net.read_bytes() == b"virtio_net" * 5000
    assert (system.tree / "etc/modprobe.d/mine.conf").exists()


def test_a_system_in_a_subvolume_of_btrfs(root: Path, tmp_path: Path) -> None:
    """GRUB's configuration names its files from the top of the file system. A folder is what a
    subvolume is to GRUB; mkfs.btrfs makes no subvolume before 6.12."""
    config = root / "boot/grub/grub.cfg"
    config.write_text(config.read_text().replace("/boot/", "/@rootfs/boot/"))
    top = tmp_path / "top"
    top.mkdir()
    root.rename(top / "@rootfs")
    system = take(btrfs(top, tmp_path / "disk.img"), tmp_path)
    assert system.vmlinuz.read_bytes() == vmlinuz(_RELEASE)
    assert system.modules is not None
    assert (system.tree / "etc/modprobe.d/mine.conf").exists()


@pytest.mark.parametrize("make", [xfs, btrfs, f2fs, squashfs])
def test_links_and_what_is_not_there(root: Path, tmp_path: Path, make: object) -> None:
    (root / "boot/link").symlink_to(f"vmlinuz-{_RELEASE}")
    (root / "boot/out").symlink_to("/../../../etc/hostname")
    (root / "boot/round").symlink_to("round")
    (root / "etc/hostname").write_text("the image's")
    assert callable(make)
    volume = opened(make(root, tmp_path / "fs"), tmp_path / "scratch")
    assert volume.read("/boot/out") == "the image's"
    assert volume.dump("/boot/link", tmp_path / "scratch/x").read_bytes() == vmlinuz(_RELEASE)
    assert volume.is_folder("/lib/modules") and volume.is_folder("/")
    assert volume.names("/etc") == ["hostname", "modprobe.d"]
    assert volume.names("/none") == [] == volume.names("/boot/link")
    assert f"/usr/lib/modules/{_RELEASE}/modules.dep" in set(volume.files("/"))
    for path in ("/none", "/boot", "/boot/round", "/boot/link/x", "/a\nb"):
        assert not volume.is_file(path)
        with pytest.raises(BadInputError, match="has no file"):
            volume.dump(path, tmp_path / "scratch/y")
    with pytest.raises(BadInputError, match="leaves its folder"):
        volume.dump("/etc/hostname", tmp_path / "outside")


def test_a_file_that_is_too_large(root: Path, tmp_path: Path) -> None:
    volume = opened(btrfs(root, tmp_path / "fs"), tmp_path / "scratch")
    with pytest.raises(BadInputError, match="has 4096 bytes, more than"):
        volume.dump(f"/boot/vmlinuz-{_RELEASE}", tmp_path / "scratch/x", most=4095)
    assert not (tmp_path / "scratch/x").exists()


def test_one_that_cannot_be_read_or_whose_program_is_missing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = btrfs(root, tmp_path / "disk.img").read_bytes()
    (tmp_path / "disk.img").write_bytes(whole[: 68 << 10] + bytes(len(whole) - (68 << 10)))
    with pytest.raises(BadInputError, match=r"\(btrfs\) cannot be read by grub-fstest"):
        take(tmp_path / "disk.img", tmp_path)
    monkeypatch.setattr(volumes, "missing", list)
    with pytest.raises(BadInputError, match=r"without grub-fstest \(apt install grub-common\)"):
        take(tmp_path / "disk.img", tmp_path)
    assert PACKAGES["grub-fstest"] == "grub-common"
    shutil.rmtree(tmp_path / "scratch")


def test_names_in_a_listing() -> None:
    lines = [
        "DIR          20261125140638 boot/", "4            20261125140638 na me",
        "DIR          20261125140638 ../", "x            20261125140638 x",
        "4            20261125140638 a/b", "4            20261125140638 a\x01",
        "DIR          20261125140638 file", "4            20261125140638 folder/", "",
    ]  # fmt: skip
    assert fstest.listed("\n".join(lines)) == {"boot": None, "na me": 4}


def test_a_root_on_a_logical_volume(root: Path, tmp_path: Path) -> None:
    """As Red Hat's installer makes it: /boot is a partition of its own, the root is on LVM."""
    boot = tmp_path / "boot"
    (root / "boot").rename(boot)
    config = boot / "grub/grub.cfg"
    config.write_text(config.read_text().replace("/boot/", "/"))
    parts = (
        ("linux", file_system(boot, tmp_path / "boot.fs"), ""),
        ("lvm", lvm.physical(file_system(root, tmp_path / "fs"), tmp_path / "pv"), ""),
    )
    path = esp.disk(tmp_path / "disk.img", *parts)
    system = take(path, tmp_path)
    assert system.vmlinuz.read_bytes() == vmlinuz(_RELEASE)
    assert system.modules is not None and not system.only_initrd
    assert (system.tree / "etc/modprobe.d/mine.conf").exists()
    scratch = tmp_path / "scratch"
    (scratch / "disk.raw").symlink_to(path)
    found = volumes.opened("disk.raw", partitions.file_systems("disk.raw", scratch), scratch)
    assert [one.where.name for one in found] == ["partition 1 (ext4)", "partition 2 (LVM vg-root)"]


def test_names_of_logical_volumes(root: Path, tmp_path: Path) -> None:
    """A name that is not one of LVM's is left out: it would be a part of a command."""
    fs = file_system(root, tmp_path / "fs")
    for name, expected in (("home-1", ["lvm/vg-home--1"]), ("a(b", [])):
        lvm.physical(fs, tmp_path / "disk.raw", name)
        assert fstest.logical_volumes("disk.raw", tmp_path) == expected
