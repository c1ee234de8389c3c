# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that name other files, made by qemu-img: which of them QEMU is given."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vm.disk.test_extract import file_system, partitioned, root, take, tool
from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import chain, partitions
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.host.programs import quiet

__all__ = ["root"]

_SECRET = b"only for the host"
_MIB = 1 << 20


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host that no guest may read."""
    path = tmp_path / "host" / "secret"
    path.parent.mkdir()
    path.write_bytes(_SECRET.ljust(_MIB, b"\0"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The image's folder."""
    found = tmp_path / "images"
    found.mkdir()
    return found


def overlay(path: Path, backing: str, form: str, *more: str, kind: str = "qcow2") -> Path:
    """An image whose backing file is BACKING, which need not exist."""
    tool("qemu-img", "create", "-f", kind, "-u", "-b", backing, "-F", form, *more, str(path), "1M")
    return path


def refused(path: Path, allowed: tuple[Path, ...] = ()) -> BadInputError:
    with pytest.raises(BadInputError) as found:
        partitions.open_image(path, allowed)
    assert "\n" not in str(found.value) and found.value.hint
    return found.value


def content(disk: Disk, scratch: Path) -> bytes:
    scratch.mkdir(exist_ok=True)
    return (scratch / partitions.raw(disk, scratch, quiet)).read_bytes()


@pytest.mark.parametrize("relative", [True, False])
def test_a_backing_file_elsewhere_is_refused(folder: Path, secret: Path, relative: bool) -> None:
    name = "../host/secret" if relative else str(secret)
    path = overlay(folder / "evil.qcow2", name, "raw")
    error = refused(path)
    assert str(error) == (
        f"{path}: its backing file {name!r} is outside of the image's folder: the guest could "
        "read it"
    )
    assert error.hint == f"if you trust the image: --backing {secret.parent}"


def test_a_folder_that_the_user_allows(folder: Path, secret: Path, tmp_path: Path) -> None:
    path = overlay(folder / "disk.qcow2", str(secret), "raw")
    disk = partitions.open_image(path, (secret.parent,))
    assert disk.chain is not None and disk.chain.files == [secret]
    assert content(disk, tmp_path / "scratch").startswith(_SECRET)
    refused(path, (tmp_path,))  # folders in it do not count


def test_links_and_folders_in_the_images_folder_lead_nowhere(folder: Path, secret: Path) -> None:
    (folder / "link").symlink_to(secret)
    (folder / "sub").mkdir()
    (folder / "sub/key").write_bytes(_SECRET)
    for name in ("link", "sub/key", "./../host/secret"):
        assert "is outside of the image's folder" in str(
            refused(overlay(folder / "evil.qcow2", name, "raw"))
        )


def test_a_chain_in_one_folder_is_read(root: Path, tmp_path: Path) -> None:
    """The usual one: an overlay for one test, over an image that stays as it is."""
    disk = partitioned(file_system(root, tmp_path / "fs"), tmp_path / "a, base.img")
    tool("qemu-img", "convert", "-O", "qcow2", str(disk), str(tmp_path / "base.qcow2"))
    for name, below, form in (("mid", disk.name, "raw"), ("top", "mid.qcow2", "qcow2")):
        tool(
            *("qemu-img", "create", "-f", "qcow2", "-b", below, "-F", form),
            str(tmp_path / f"{name}.qcow2"),
        )
    system = take(tmp_path / "top.qcow2", tmp_path)
    assert system.notes[:2] == [
        f"top.qcow2 also reads {tmp_path}/mid.qcow2",
        f"top.qcow2 also reads {disk}",
    ]
    assert system.title == take(disk, tmp_path).title
    (drive,) = (o for o in system.image.devices(()) if o.startswith("if=none"))
    node = json.loads(
        drive.removeprefix("if=none,id=image,file=json:")
        .removesuffix(",snapshot=on")
        .replace(",,", ",")
    )
    files = [node, node["backing"], node["backing"]["backing"]]
    assert [(n["driver"], n["file"]["filename"]) for n in files] == [
        ("qcow2", f"{tmp_path}/top.qcow2"), ("qcow2", f"{tmp_path}/mid.qcow2"), ("raw", str(disk)),
    ]  # fmt: skip


def test_a_backing_file_is_never_probed(folder: Path, secret: Path, tmp_path: Path) -> None:
    """A raw one may begin with a guest's qcow2 header, which names a file of the host."""
    inner = overlay(folder / "inner", str(secret), "raw")
    disk = partitions.open_image(overlay(folder / "disk.qcow2", inner.name, "raw"))
    assert disk.chain is not None and disk.chain.files == [inner]
    assert content(disk, tmp_path / "scratch").startswith(b"QFI\xfb")
    path = folder / "unsaid.qcow2"
    tool("qemu-img", "create", "-f", "qcow2", "-u", "-b", "inner", "-F", "qed", str(path), "1M")
    assert "has the format 'qed'" in str(refused(path))
    head = bytearray(path.read_bytes())
    at = head.index(struct.pack(">I", 0xE2792ACA))
    head[at : at + 4] = b"\x01\x02\x03\x04"  # an extension that QEMU skips
    path.write_bytes(head)
    error = refused(path)
    assert "does not say which format its backing file 'inner' has" in str(error)
    assert error.hint.endswith("qemu-img rebase -u -F FORMAT -b FILE")


@pytest.mark.parametrize(
    "name", ['json:{"driver":"file","filename":"/etc/hostname"}', "nbd:localhost:1", "fat:/etc"]
)
def test_a_name_that_is_no_file(folder: Path, name: str) -> None:
    path = overlay(folder / "evil.qcow2", "x" * len(name), "raw")
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name.encode()))
    assert f"its backing file {name!r} is not the name of a file" in str(refused(path))


def test_a_name_with_a_zero_byte_or_without_a_file(folder: Path) -> None:
    path = overlay(folder / "evil.qcow2", "not-there", "raw")
    assert "'not-there': No such file" in str(refused(path))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"not-there", b"not\0there"))
    refused(path)
    path.write_bytes(data.replace(b"not-there", b"not\xffthere"))
    assert "in no UTF-8" in str(refused(path))
    os.mkfifo(folder / "not-there")
    path.write_bytes(data)
    assert "is not a file" in str(refused(path))  # opening it would wait for ever


def test_a_loop_and_a_chain_without_end(folder: Path) -> None:
    loop = overlay(folder / "a.qcow2", "b.qcow2", "qcow2")
    overlay(folder / "b.qcow2", "a.qcow2", "qcow2")
    assert "is a loop" in str(refused(loop))
    for number in range(chain.DEEPEST + 1):
        overlay(folder / f"{number}.qcow2", f"{number + 1}.qcow2", "qcow2")
    assert f"more than {chain.DEEPEST} files" in str(refused(folder / "0.qcow2"))


def test_a_data_file(folder: Path, secret: Path, tmp_path: Path) -> None:
    for name, data in (("evil", secret), ("good", folder / "data.raw")):
        path = folder / f"{name}.qcow2"
        tool("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={tmp_path}/x", str(path), "1M")
        (tmp_path / "x").unlink()
        tool(
            "qemu-img",
            "amend",
            "-f",
            "qcow2",
            "-o",
            f"data_file={data}",
            f"json:{_amend(path, data)}",
        )
    assert f"its data file '{secret}' is outside" in str(refused(folder / "evil.qcow2"))
    disk = partitions.open_image(folder / "good.qcow2")
    assert disk.chain is not None and disk.chain.data == folder / "data.raw"
    assert len(content(disk, tmp_path / "scratch")) == _MIB


def _amend(path: Path, data: Path) -> str:
    if not data.exists():
        data.write_bytes(bytes(_MIB))
    node: dict[str, Any] = {
        "driver": "qcow2",
        "file": {"driver": "file", "filename": str(path)},
        "data-file": {"driver": "file", "filename": str(data)},
    }
    return json.dumps(node)


@pytest.mark.parametrize("kind", ["qcow", "qed", "vmdk"])
def test_other_formats_with_a_backing_file(folder: Path, secret: Path, kind: str) -> None:
    below, form = (secret, "raw") if kind != "vmdk" else (folder / "below.vmdk", "vmdk")
    if kind == "vmdk":
        tool("qemu-img", "create", "-f", "vmdk", str(below), "1M")
    path = folder / f"evil.{kind}"
    tool("qemu-img", "create", "-f", kind, "-b", str(below), "-F", form, str(path))
    assert f"only supported for qcow2, not for {kind}" in str(refused(path))


@pytest.mark.parametrize("kind", ["raw", "qcow", "qed", "vmdk", "vdi", "vpc", "vhdx"])
def test_other_formats_without_one(folder: Path, tmp_path: Path, kind: str) -> None:
    path = folder / f"disk.{kind}"
    tool("qemu-img", "create", "-f", kind, str(folder / "made"), "1M")
    (folder / "made").rename(path)  # a vmdk's descriptor has its own old name
    disk = partitions.open_image(path)
    assert (disk.format if kind != "vpc" else "vpc") in (kind, "raw")
    assert not any(content(disk, tmp_path / "scratch"))


def test_a_vmdk_names_its_extents(folder: Path, secret: Path, tmp_path: Path) -> None:
    path = folder / "flat.vmdk"
    tool("qemu-img", "create", "-f", "vmdk", "-o", "subformat=monolithicFlat", str(path), "1M")
    disk = partitions.open_image(path)
    assert disk.format == "vmdk"
    assert len(content(disk, tmp_path / "scratch")) == _MIB
    for extent in (f'RW 2048 FLAT "{secret}" 0', f'\n RW\n2048\tFLAT\n"{secret}" 0'):
        text = path.read_text().replace('RW 2048 FLAT "flat-flat.vmdk" 0', extent)
        evil = folder / "evil.vmdk"
        evil.write_text(text)
        assert f"its data file '{secret}' is outside" in str(refused(evil))


def test_a_sparse_vmdk_with_another_descriptor(folder: Path) -> None:
    path = folder / "disk.vmdk"
    tool("qemu-img", "create", "-f", "vmdk", str(path), "1M")
    data = bytearray(path.read_bytes())
    data[12:20] = bytes(8)  # SparseExtentHeader.capacity
    path.write_bytes(data)
    assert "without a capacity" in str(refused(path))


def test_the_command(folder: Path, secret: Path) -> None:
    path = overlay(folder / "evil.qcow2", str(secret), "raw")

    def boot(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "virtio_trace", "boot", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    status, said = boot("--image", str(path))
    assert status == 5
    assert "is outside of the image's folder" in said and "--backing" in said
    status, said = boot("--image", str(path), "--backing", str(secret.parent))
    assert status == 5 and "no file system in it" in said  # it was read
    assert boot("--image", str(path), "--backing", str(secret))[0] == 2
    assert boot("--debian", "linux-image-cloud-amd64", "--backing", str(folder))[0] == 2
