# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images that no installer wrote; found by tests/fuzz."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fuzz import images
from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import partitions
from virtio_trace.vm.disk.debugfs import Debugfs
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.partitions import FileSystem

TABLE = (
    '{{"partitiontable":{{"sectorsize":{},"partitions":[{{"node":"x1","start":{},"size":{}}}]}}}}'
)


def test_a_partition() -> None:
    (found,) = partitions.partitions(TABLE.format(512, 1, 2))
    assert found == partitions.Partition(1, 512, 1024)


@pytest.mark.parametrize(
    "numbers",
    [
        ("Infinity", 1, 2), (512, "Infinity", 2), (512, 1, "1e999"), (512, -1, 2), (-512, 1, 2),
        (512, 1, 1 << 60), (512, '"²"', 2), (512, 1.5, 2), (512, "true", 2),
    ],
)  # fmt: skip
def test_a_partition_that_is_on_no_disk(numbers: tuple[object, ...]) -> None:
    with pytest.raises(BadInputError):
        partitions.partitions(TABLE.format(*numbers))


def _debugfs(image: Path, *requests: str) -> None:
    program = shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert program is not None
    for request in requests:
        subprocess.run((program, "-w", "-R", request, image), check=True, capture_output=True)


@pytest.fixture
def ext(tmp_path: Path) -> Ext:
    (tmp_path / "disk.raw").write_bytes(images.ext2())
    return Ext("disk.raw", FileSystem(0, 0, 64 << 10, "ext2"), tmp_path)


def test_what_is_in_the_image(ext: Ext) -> None:
    assert list(ext.files("/")) == ["/boot/file"]
    assert ext.is_file("/long") and ext.is_file("/short")


def test_a_folder_that_is_in_itself(ext: Ext, tmp_path: Path) -> None:
    """Its files were listed until Python's stack was full; two such, for ever."""
    _debugfs(tmp_path / "disk.raw", "link <12> /boot/again", "link <12> /boot/andagain")
    assert ext.is_folder("/boot/again/andagain/again")
    assert list(ext.files("/")) == ["/boot/file"]


def test_a_link_longer_than_any_path(ext: Ext, tmp_path: Path) -> None:
    """All that it says was read into memory."""
    _debugfs(tmp_path / "disk.raw", f"set_inode_field <{_inode(ext, 'long')}> size 1000000")
    ext = Ext("disk.raw", ext.where, tmp_path)
    asked = ext._debugfs = _Asked("disk.raw", tmp_path)
    assert ext.find("/long") is None
    assert ext.find("/short") is not None
    assert not [request for request in asked.requests if request.startswith("cat")]


def _inode(ext: Ext, name: str) -> int:
    return ext._list(2)[name].inode


class _Asked(Debugfs):
    """Remembers what debugfs was asked."""

    def __init__(self, file: str, scratch: Path) -> None:
        super().__init__(file, scratch, "disk")
        self.requests: list[str] = []

    def ask(self, requests: Sequence[str]) -> list[str]:
        self.requests += requests
        return super().ask(requests)
