# SPDX-License-Identifier: GPL-2.0-or-later
"""What is extracted from disk images: real ones, made by mke2fs, sfdisk and qemu-img."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.vm.disk.test_bootloader import GRUB
from virtio_trace.errors import BadInputError, UsageError, VirtioTraceError
from virtio_trace.vm.disk import extract, partitions
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.host.programs import quiet

_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_RELEASE = "6.1.0-56-cloud-amd64"
_UUID = "5f6d1f0e-8b7c-4c39-9d51-0a5b1c3e7a11"


def tool(*command: str, text: str | None = None) -> None:
    """Runs a program that makes an image."""
    path = shutil.which(command[0], path=_PATH)
    assert path is not None, f"{command[0]} is not installed"
    subprocess.run([path, *command[1:]], input=text, text=True, check=True, capture_output=True)


def vmlinuz(version: str) -> bytes:
    """The part of a bzImage that has its release (Documentation/arch/x86/boot.rst)."""
    data = bytearray(4096)
    data[0x1FE:0x200], data[0x202:0x206] = b"\x55\xaa", b"HdrS"
    data[0x20E:0x210] = (0x400).to_bytes(2, "little")
    text = f"{version} (debian-kernel) #1 SMP".encode()
    data[0x600 : 0x600 + len(text)] = text
    return bytes(data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small root file system, with the files of a boot loader and a kernel's package."""
    top = tmp_path / "root"
    for folder in ("boot/grub", "etc/modprobe.d", f"usr/lib/modules/{_RELEASE}/kernel/drivers"):
        (top / folder).mkdir(parents=True)
    (top / "lib").symlink_to("usr/lib")
    for version in ("6.1.0-9-cloud-amd64", _RELEASE):
        (top / f"boot/vmlinuz-{version}").write_bytes(vmlinuz(version))
        (top / f"boot/initrd.img-{version}").write_bytes(f"initrd of {version}".encode())
    (top / "boot/grub/grub.cfg").write_text(GRUB)
    modules = top / "usr/lib/modules" / _RELEASE
    for name in ("virtio_net", "ext4"):
        (modules / f"kernel/drivers/{name}.ko").write_bytes(name.encode() * 5000)
    (modules / "modules.dep").write_text("kernel/drivers/virtio_net.ko:\nkernel/drivers/ext4.ko:\n")
    (modules / "modules.alias").write_text("alias virtio:d00000001v* virtio_net\n")
    (top / "etc/modprobe.d/mine.conf").write_text("blacklist virtio_net\n")
    return top


def file_system(root: Path, target: Path, *options: str) -> Path:
    """ROOT as an ext4 file system of 16 MiB."""
    tool("mke2fs", "-q", "-t", "ext4", "-U", _UUID, *options, "-d", str(root), str(target), "16M")
    return target


def partitioned(fs: Path, target: Path, label: str = "gpt") -> Path:
    """A disk with FS as its second partition."""
    with target.open("wb") as file:
        file.truncate(24 << 20)
        file.seek(4 << 20)
        file.write(fs.read_bytes())
    tool(
        "sfdisk",
        "-q",
        str(target),
        text=f"label: {label}\nstart=1MiB,size=1MiB\nstart=4MiB,size=16MiB\n",
    )
    return target


def take(path: Path, tmp_path: Path, append: str = "") -> extract.ImageSystem:
    """The image's system, extracted into a new folder."""
    scratch = tmp_path / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return extract.extract_system(path, append, scratch, quiet)


@pytest.mark.parametrize("form", ["raw", "qcow2"])
@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_the_boot_loaders_default_is_taken(
    root: Path, tmp_path: Path, form: str, label: str
) -> None:
    path = partitioned(file_system(root, tmp_path / "fs"), tmp_path / "a, disk?.img", label)
    if form == "qcow2":
        tool("qemu-img", "convert", "-O", "qcow2", str(path), str(tmp_path / "disk.qcow2"))
        path = tmp_path / "disk.qcow2"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    system = take(path, tmp_path)
    assert (system.image.path, system.image.format) == (path, form)
    assert system.vmlinuz.read_bytes() == vmlinuz(_RELEASE)
    assert [p.read_bytes() for p in system.initrds] == [f"initrd of {_RELEASE}".encode()]
    assert system.options.split() == [f"root=UUID={_UUID}", "ro", "quiet"]
    assert system.modules is not None
    assert sorted(p.name for p in system.modules.rglob("*") if p.is_file()) == [
        "modules.alias", "modules.dep", "virtio_net.ko",
    ]  # fmt: skip
    net = system.modules / "kernel/drivers/virtio_net.ko"
    assert net.read_bytes() == b"virtio_net" * 5000
    assert (system.tree / "etc/modprobe.d/mine.conf").read_text() == "blacklist virtio_net\n"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_without_a_boot_loader_the_newest_kernel_and_a_root_that_is_named(
    root: Path, tmp_path: Path
) -> None:
    shutil.rmtree(root / "boot/grub")
    path = file_system(root, tmp_path / "disk.img")
    with pytest.raises(UsageError, match="which file system is its root") as refused:
        take(path, tmp_path)
    assert refused.value.hint == f"for example: --append root=UUID={_UUID}"
    system = take(path, tmp_path, "quiet root=/dev/vda")
    assert (system.title, system.options) == (_RELEASE, "")
    assert system.initrds[0].read_bytes() == f"initrd of {_RELEASE}".encode()


def test_entries_of_the_boot_loader_specification(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "boot/grub")
    (root / "boot/loader/entries").mkdir(parents=True)
    (root / "boot/loader/entries/x.conf").write_text(
        "title X\nversion 9\nlinux /vmlinuz-6.1.0-9-cloud-amd64\n"
        "initrd /initrd.img-6.1.0-9-cloud-amd64\noptions root=LABEL=x\n"
    )
    system = take(file_system(root, tmp_path / "disk.img"), tmp_path)
    assert (system.title, system.options) == ("X", "root=LABEL=x")
    assert system.vmlinuz.read_bytes() == vmlinuz("6.1.0-9-cloud-amd64")
    assert system.modules is None
    assert "what is not in its initrd is unknown" in system.notes[1]


def test_links_are_followed_inside_the_image_only(root: Path, tmp_path: Path) -> None:
    long = "d" * 80
    (root / long).mkdir()
    (root / long / "file").write_text("here")
    (root / "boot/long").symlink_to(f"/{long}/file")  # too long for an inode
    (root / "boot/out").symlink_to("/../../../etc/hostname")
    (root / "boot/round").symlink_to("round")
    (root / "etc/hostname").write_text("the image's")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = partitions.raw(Disk(file_system(root, tmp_path / "fs"), "raw"), scratch, quiet)
    (place,) = partitions.file_systems(name, scratch)
    ext = Ext(name, place, scratch)
    assert ext.read("/boot/long") == "here"
    assert ext.read("/boot/../boot/./out") == "the image's"
    assert ext.find("/boot/round") is None
    assert ext.find("/boot/vmlinuz-x/y") is None
    assert ext.find("/etc/hostname/x") is None
    assert (place.kind, place.uuid, ext.unclean) == ("ext4", _UUID, False)
    assert ext.names("/etc") == ["hostname", "modprobe.d"]
    with pytest.raises(BadInputError, match="has no file /etc"):
        ext.dump("/etc", scratch / "x")


def test_what_cannot_be_opened_is_named(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(24 << 20)
        file.seek(4 << 20)
        file.write(b"LUKS\xba\xbe\x00\x01")
    tool("sfdisk", "-q", str(path), text="label: gpt\nstart=4MiB,size=16MiB\n")
    with pytest.raises(BadInputError, match=r"partition 1 \(crypto_LUKS\) cannot be") as refused:
        take(path, tmp_path)
    assert "--image DISK --kernel VMLINUZ --initrd FILE" in refused.value.hint
    shutil.rmtree(root / "boot")
    with pytest.raises(
        BadInputError, match=r"the whole disk \(ext4\) has no boot loader entry and no kernel"
    ):
        take(file_system(root, tmp_path / "fs"), tmp_path)


def test_a_file_that_the_boot_loader_names_and_is_not_there(root: Path, tmp_path: Path) -> None:
    (root / f"boot/initrd.img-{_RELEASE}").unlink()
    with pytest.raises(BadInputError, match=f"names /boot/initrd.img-{_RELEASE}, which"):
        take(file_system(root, tmp_path / "fs"), tmp_path)


def test_a_system_without_an_initrd(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "boot/grub")
    (root / f"boot/initrd.img-{_RELEASE}").unlink()
    with pytest.raises(BadInputError, match="has no initrd for /boot/vmlinuz"):
        take(file_system(root, tmp_path / "fs"), tmp_path, "root=/dev/vda")


@pytest.mark.parametrize("data", [b"", b"x", b"QFI\xfb" + b"\xff" * 600, bytes(1 << 20)])
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(data)
    with pytest.raises(BadInputError) as refused:
        take(path, tmp_path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_file_system_is_read_or_refused(root: Path, tmp_path: Path) -> None:
    """One byte is inverted at a time, in the parts that debugfs reads first."""
    whole = file_system(root, tmp_path / "fs").read_bytes()
    path = tmp_path / "damaged.img"
    for place in [*range(1024, 1280, 41), *range(4096, 65536, 9001)]:
        data = bytearray(whole)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            system = take(path, tmp_path, "root=/dev/vda")
        except VirtioTraceError as error:
            assert "\n" not in str(error)
        else:
            assert system.initrds
