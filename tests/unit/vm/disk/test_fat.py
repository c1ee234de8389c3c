# SPDX-License-Identifier: GPL-2.0-or-later
"""FAT file systems: real ones by mkfs.vfat and mtools, and hostile ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.vm.disk import esp
from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import fat, partitions
from virtio_trace.vm.disk.fat import Fat
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.host.children import Limits


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "EFI/Linux").mkdir(parents=True)
    (top / "loader/entries").mkdir(parents=True)
    (top / "loader/loader.conf").write_text("default x\n")
    (top / "loader/entries/Debian 6.1+3-1.conf").write_text("title ü\n")
    (top / "EFI/Linux/größere-datei.efi").write_bytes(os.urandom(100_000))
    (top / "EFI/Linux/pattern[12].efi").write_bytes(b"x")
    return top


def opened(file: Path, scratch: Path) -> Fat:
    """The file system in FILE, one MiB from the start of a disk."""
    scratch.mkdir(exist_ok=True)
    esp.disk(scratch / "disk.raw", (esp.ESP, file, ""))
    (place,) = partitions.file_systems("disk.raw", scratch)
    assert place.kind == "vfat" and place.offset == 1 << 20
    return Fat("disk.raw", place, scratch)


@pytest.mark.parametrize("mib", [2, 32, 64], ids=["FAT12", "FAT16", "FAT32"])
def test_what_is_in_it(tree: Path, tmp_path: Path, mib: int) -> None:
    volume = opened(esp.fat(tree, tmp_path / "fat", mib), tmp_path / "scratch")
    assert volume.names("/") == ["EFI", "loader"]
    assert volume.names("/efi/LINUX/") == ["größere-datei.efi"]
    assert volume.names("/nothing") == []
    assert volume.is_folder("/") and volume.is_folder("/Loader") and not volume.is_folder("/x")
    assert volume.is_file("/LOADER/loader.conf") and not volume.is_file("/loader")
    assert list(volume.files("/loader")) == [
        "/loader/entries/Debian 6.1+3-1.conf", "/loader/loader.conf",
    ]  # fmt: skip
    assert volume.read("/loader/entries/debian 6.1+3-1.CONF") == "title ü\n"
    copy = volume.dump("/EFI/Linux/größere-datei.efi", tmp_path / "scratch/a/b")
    assert copy.read_bytes() == (tree / "EFI/Linux/größere-datei.efi").read_bytes()
    assert volume.where.partition and volume.where.partition.type == esp.ESP.lower()


def test_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    volume = opened(esp.fat(tmp_path / "tree", tmp_path / "fat"), tmp_path / "scratch")
    assert volume.names("/") == [] and volume.is_folder("/") and list(volume.files("/")) == []


def test_what_is_not_there_or_not_a_plain_name(tree: Path, tmp_path: Path) -> None:
    volume = opened(esp.fat(tree, tmp_path / "fat"), tmp_path / "scratch")
    target = tmp_path / "scratch/x"
    for path in (
        "/none",
        "/EFI",
        "/EFI/Linux/pattern[12].efi",
        "/EFI/Linux/*",
        "/../../etc/passwd",
    ):
        with pytest.raises(BadInputError, match="has no file"):
            volume.dump(path, target)
    assert not target.exists()


def test_a_target_outside_of_the_scratch_folder(tree: Path, tmp_path: Path) -> None:
    volume = opened(esp.fat(tree, tmp_path / "fat"), tmp_path / "scratch")
    outside = tmp_path / "outside"
    outside.write_text("kept")
    (tmp_path / "scratch/link").symlink_to(outside)
    for name in ("../outside", "link", "a/../../outside"):
        with pytest.raises(BadInputError, match="leaves its folder"):
            volume.dump("/loader/loader.conf", tmp_path / "scratch" / name)
    assert outside.read_text() == "kept"


def test_a_file_that_is_too_large_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    volume = opened(esp.fat(tree, tmp_path / "fat"), tmp_path / "scratch")
    target = tmp_path / "scratch/x"
    with pytest.raises(BadInputError, match="more than"):
        volume.dump("/EFI/Linux/größere-datei.efi", target, most=99_999)
    assert not target.exists()


def test_a_file_system_that_is_cut(tree: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    whole = esp.fat(tree, tmp_path / "fat").read_bytes()
    (scratch / "disk.raw").write_bytes(whole[:20_000])
    volume = Fat("disk.raw", FileSystem(0, 0, 20_000, "vfat"), scratch)
    with pytest.raises(BadInputError, match="the whole disk"):
        volume.dump("/EFI/Linux/größere-datei.efi", scratch / "x")
    (scratch / "disk.raw").write_bytes(whole[:100])
    with pytest.raises(BadInputError, match="cannot be read"):
        Fat("disk.raw", FileSystem(0, 0, 100, "vfat"), scratch).names("/")


def test_a_folder_that_is_in_itself(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry names its own first cluster. mdir recurses until its stack is full."""
    (tree / "EFI/Linux/inner").mkdir()
    image = bytearray(esp.fat(tree, tmp_path / "fat").read_bytes())
    outer, inner = image.index(b".          \x10"), image.index(b"INNER      \x10")
    image[inner + 26 : inner + 28] = image[outer + 26 : outer + 28]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "disk.raw").write_bytes(image)
    monkeypatch.setattr(fat, "_LISTING", Limits(seconds=2, output=1 << 20))
    volume = Fat("disk.raw", FileSystem(0, 0, len(image), "vfat"), scratch)
    with pytest.raises(BadInputError, match=r"mtools ended with status|was ended"):
        volume.names("/")


def test_paths_that_mcopy_would_not_take_as_they_are() -> None:
    good = ["/EFI/", "/EFI/a b.efi", "/" + "a/" * 30 + "x"]
    bad = [
        "EFI/", "/", "", "/a*", "/a?", "/[a]", "/a\\b", "/a\x01", "/../x", "/a/../x", "/a//b",
        "//a", "/./a", "/" + "a/" * 50 + "x", "/\ufffd", "Volume in drive : is x",
    ]  # fmt: skip
    listing = "\n".join(f"::{path}" for path in (*good, *bad))
    assert fat.paths(listing, "x") == good
    with pytest.raises(BadInputError, match="more than 200000 files"):
        fat.paths("::/a\n" * 200_001, "x")
