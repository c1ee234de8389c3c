# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile images: nothing leaves the scratch folder, and nothing grows without end."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vm.disk.test_extract import _RELEASE, file_system, root, take, tool, vmlinuz
from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import debugfs, image_modules, partitions
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.host.programs import quiet, run
from virtio_trace.vm.root import foreign_initrd
from virtio_trace.vm.root.cpio import Writer

__all__ = ["root"]


@pytest.mark.parametrize(
    "name", ["../../../../../outside.ko", "kernel/../../../../../../outside.ko", "/outside.ko"]
)
def test_a_module_list_that_names_files_outside_is_refused(
    root: Path, tmp_path: Path, name: str
) -> None:
    (root / "outside.ko").write_bytes(b"evil")
    modules = root / "usr/lib/modules" / _RELEASE
    (modules / "modules.dep").write_text(f"{name}:\n")
    outside = tmp_path / "outside.ko"
    with pytest.raises(BadInputError, match=r"modules.dep names .*outside its folder"):
        take(file_system(root, tmp_path / "disk.img"), tmp_path)
    assert not outside.exists() and not Path("/outside.ko").exists()


def test_dumping_stays_below_the_scratch_folder_by_real_paths(root: Path, tmp_path: Path) -> None:
    ext = opened(root, tmp_path)
    scratch = tmp_path / "scratch"
    (tmp_path / "elsewhere").mkdir()
    (scratch / "link").symlink_to(tmp_path / "elsewhere")
    (scratch / "file").symlink_to(tmp_path / "elsewhere/file")
    config = "/boot/grub/grub.cfg"
    for target in ("../x", "a/../../x", "link/x", "link/sub/x", "file", "a/.."):
        with pytest.raises(BadInputError, match="leaves its folder"):
            ext.dump(config, scratch / target)
    with pytest.raises(BadInputError):
        ext.dump(config, tmp_path / "elsewhere/x")
    for target in ("x" * 300, "x" * 300 + "/y", "a\0b", 'a"b', "a\nb"):
        with pytest.raises(BadInputError):
            ext.dump(config, scratch / target)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert ext.dump(config, scratch / "a/b/c").read_bytes() != b""


def opened(root: Path, tmp_path: Path) -> Ext:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = partitions.raw(Disk(file_system(root, tmp_path / "fs"), "raw"), scratch, quiet)
    (place,) = partitions.file_systems(name, scratch)
    return Ext(name, place, scratch)


@pytest.mark.parametrize("release", ["..", ".", "a/b", "-x", "x" * 200, "\xff"])
def test_a_release_that_is_no_name_of_a_folder(tmp_path: Path, release: str) -> None:
    image = tmp_path / "vmlinuz"
    data = bytearray(vmlinuz("x" * 100))
    text = f"{release} (x)".encode("latin-1") + bytes(200)
    data[0x600 : 0x600 + len(text)] = text
    image.write_bytes(data)
    assert image_modules.release(image) == ""


@pytest.mark.parametrize(
    ("file", "size"),
    [
        ("boot/grub/grub.cfg", 3 << 30),
        (f"boot/vmlinuz-{_RELEASE}", 50 << 30),
        (f"boot/initrd.img-{_RELEASE}", 50 << 30),
        (f"usr/lib/modules/{_RELEASE}/modules.dep", 5 << 30),
        (f"usr/lib/modules/{_RELEASE}/kernel/drivers/virtio_net.ko", 5 << 30),
    ],
)
def test_a_huge_sparse_file_is_refused_by_its_size(
    root: Path, tmp_path: Path, file: str, size: int
) -> None:
    config = (root / "boot/grub/grub.cfg").read_text()
    release = config.split("/boot/vmlinuz-")[1].split()[0]
    for name in ("vmlinuz", "initrd.img"):
        (root / f"boot/{name}-{_RELEASE}").rename(root / f"boot/{name}-{release}")
    (root / "usr/lib/modules" / _RELEASE).rename(root / "usr/lib/modules" / release)
    (root / f"boot/vmlinuz-{release}").write_bytes(vmlinuz(release))
    with (root / file.replace(_RELEASE, release)).open("ab") as sparse:
        sparse.truncate(size)
    with pytest.raises(BadInputError, match=rf"has {size} bytes, more than the \d+ MiB allowed"):
        take(file_system(root, tmp_path / "disk.img"), tmp_path)
    written = sum(p.stat().st_size for p in (tmp_path / "scratch").rglob("*") if not p.is_symlink())
    assert written < 1 << 20


def test_a_folder_that_is_in_itself(root: Path, tmp_path: Path) -> None:
    path = file_system(root, tmp_path / "fs")
    tool("debugfs", "-w", "-R", "ln /boot /boot/grub/loop", str(path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = partitions.raw(Disk(path, "raw"), scratch, quiet)
    (place,) = partitions.file_systems(name, scratch)
    found = list(Ext(name, place, scratch).files("/boot"))
    assert len(found) == 5
    assert "/boot/grub/grub.cfg" in found


def test_a_process_takes_many_requests(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 modules in 100 folders: 3,100 processes took 44 s."""
    modules = root / "usr/lib/modules" / _RELEASE
    names = [f"kernel/drivers/{n % 100}/virtio_{n}.ko" for n in range(3000)]
    for name in names:
        (modules / name).parent.mkdir(exist_ok=True)
        (modules / name).write_bytes(name.encode())
    (modules / "modules.dep").write_text("".join(f"{name}:\n" for name in names))
    path = tmp_path / "disk.img"
    tool("mke2fs", "-q", "-t", "ext4", "-N", "8000", "-d", str(root), str(path), "64M")
    calls: list[list[str]] = []

    def counted(argv: list[str], what: str, **more: Any) -> subprocess.CompletedProcess[str]:
        calls.append(argv)
        return run(argv, what, **more)

    monkeypatch.setattr(debugfs, "run", counted)
    system = take(path, tmp_path, "root=/dev/vda")
    assert system.modules is not None
    assert all((system.modules / name).read_text() == name for name in names)
    assert len(calls) < 60


def test_a_name_in_an_archive_stays_below_its_root() -> None:
    for name in ("../x", "a/../../x", "/x", "a/..", "a\0b"):
        with pytest.raises(BadInputError, match="not a path below"), Writer(io.BytesIO()) as writer:
            writer.file(name, b"")


def test_an_initrd_that_is_no_file_or_too_large(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadInputError, match="is not a file"):
        foreign_initrd.check_initrd(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(50 << 30)
    with pytest.raises(BadInputError, match="no initrd is that large"):
        foreign_initrd.check_initrd(tmp_path / "large")
    for name in ("none", "x" * 300, "a\0b"):
        with pytest.raises(BadInputError):
            foreign_initrd.check_initrd(tmp_path / name)
