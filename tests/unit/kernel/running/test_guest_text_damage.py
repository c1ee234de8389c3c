# SPDX-License-Identifier: GPL-2.0-or-later
"""sysfs and the kernel's log in the words of a guest that may be anybody's; found by tests/fuzz."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtio_trace.kernel.running import kmsg, sysfs, sysfs_text
from virtio_trace.kernel.running.host import snapshot

LONG = "9" * 5000


@pytest.mark.parametrize(
    "line",
    [
        "/sys/" + "x" * 300,
        "/sys/" + "x/" * 3000 + "y",
        "'/sys/x' -> 'a\0b'",
        "'/sys/x\0' -> 'a'",
        "/sys/x\0",
    ],
)
def test_a_name_that_no_file_may_have(line: str, tmp_path: Path) -> None:
    sysfs_text.rebuild([line, "==> /sys/kept <==", "1"], tmp_path)
    assert (tmp_path / "sys/kept").read_text("ascii") == "1\n"


def test_a_folder_where_a_file_is(tmp_path: Path) -> None:
    sysfs_text.rebuild(["==> /sys/x <==", "1", "/sys/x", "/sys/x/y", "/sys/kept"], tmp_path)
    assert (tmp_path / "sys/x").is_file()
    assert (tmp_path / "sys/kept").is_dir()


@pytest.mark.parametrize("record", [f"{LONG},1,1,-;x", f"4,1,{LONG},-;x", "4,1,²,-;x", "²,1,1,-;x"])
def test_a_record_whose_numbers_are_none(record: str) -> None:
    assert kmsg.parse(record.encode()) is None


@pytest.mark.parametrize("number", [LONG, "²"])
def test_records_whose_numbers_are_none_are_not_whole(number: str) -> None:
    assert not kmsg.is_whole([f"6,{number},1,-;x".encode()])


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "-1", "0x8000000000000000", "²", ""])
def test_a_file_whose_number_is_none(number: str, tmp_path: Path) -> None:
    """It could not be written to the recording, or the recording not be read."""
    (tmp_path / "device").write_text(number, "utf-8")
    assert sysfs.number(tmp_path / "device") is None


def test_a_device_whose_index_is_none(tmp_path: Path) -> None:
    name = f"virtio{'9' * 200}"
    sysfs_text.rebuild(
        [
            f"/sys/devices/x/{name}",
            f"'/sys/bus/virtio/devices/{name}' -> '../../../devices/x/{name}'",
        ],
        tmp_path,
    )
    (device,) = snapshot(tmp_path / "sys").devices
    assert device.index is None or device.index < 1 << 32
