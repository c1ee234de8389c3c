# SPDX-License-Identifier: GPL-2.0-or-later
"""Text that a guest controls: nothing in it raises, hangs, or makes a number that does not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from virtio_trace.kernel.files.number_text import decimal, hexadecimal
from virtio_trace.kernel.running import kmsg, sysfs, sysfs_text, viot
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.kernel.running.initrd import InitrdRoot
from virtio_trace.kernel.running.proc_kallsyms import Addresses
from virtio_trace.recording.machine_state import EndState, Log, LogLine

NOT_NUMBERS = ["", "²", "٣", "-1", "+1", "1_0", " 1", "1\n", "inf", "nan", "1e3", "9" * 5000]


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_text_that_is_not_a_number(text: str) -> None:
    assert decimal(text) is None
    if text not in ("1e3",):
        assert hexadecimal(text) is None


def test_numbers() -> None:
    assert (decimal("0"), decimal("0042"), decimal("9" * 18)) == (0, 42, 10**18 - 1)
    assert (hexadecimal("0x1af4"), hexadecimal("0X1AF4"), hexadecimal("f")) == (0x1AF4, 0x1AF4, 15)
    assert hexadecimal("0x") is hexadecimal("f" * 16) is None


def _bus(tmp_path: Path, *lines: str) -> Path:
    """A guest's sysfs with the device virtio0, and LINES."""
    folder = "/sys/devices/pci0000:00/0000:00:02.0/virtio0"
    target = (
        "'/sys/bus/virtio/devices/virtio0' -> '../../../devices/pci0000:00/0000:00:02.0/virtio0'"
    )
    sysfs_text.rebuild([folder, *(line.format(d=folder) for line in lines), target], tmp_path)
    return tmp_path / "sys"


@pytest.mark.parametrize("text", ["²", "-1", "1_0", "inf", "nan", "9" * 5000, "0x" + "f" * 16])
def test_a_status_that_is_not_a_number_is_unknown(tmp_path: Path, text: str) -> None:
    sys = _bus(tmp_path, "==> {d}/status <==", text, "==> {d}/device <==", text)
    (device,) = snapshot(sys).to_json()["devices"]
    assert (device["status"], device["id"]) == (None, None)


def test_the_end_state_can_be_read_back(tmp_path: Path) -> None:
    """A number that does not fit in the recording would make it unreadable."""
    pci = "/sys/devices/pci0000:00/0000:00:02.0"
    sys = _bus(
        tmp_path, f"==> {pci}/vendor <==", "0x1af4", f"==> {pci}/device <==", "0x1000",
        f"==> {pci}/subsystem_device <==", "f" * 400,
        "'/sys/bus/pci/devices/0000:00:02.0' -> '../../../devices/pci0000:00/0000:00:02.0'",
    )  # fmt: skip
    end = read_end_state((), sys)
    assert end.pci[0].subsystem_device is None
    assert EndState.from_json(json.loads(json.dumps(end.to_json()))).pci == end.pci


@pytest.mark.parametrize("name", ["virtio" + "9" * 200, "virtio٣", "virtio²"])
def test_a_device_whose_number_does_not_fit(tmp_path: Path, name: str) -> None:
    target = f"'/sys/bus/virtio/devices/{name}' -> '../../../devices/p/{name}'"
    sysfs_text.rebuild([f"/sys/devices/p/{name}", target], tmp_path)
    (device,) = snapshot(tmp_path / "sys").to_json()["devices"]
    assert (device["name"], device["index"]) == (name, None)


@pytest.mark.parametrize(
    "lines",
    [
        ["/sys/" + "a" * 300],
        ["/sys/" + "a/" * 2500 + "a"],
        ["/sys/" + "a/" * 1500 + "a"],  # fits in PATH_MAX; pathlib would recurse
        ["==> /sys/file <==", "x", "/sys/file"],
        ["==> /sys/file <==", "x", "/sys/file/below"],
        ["/sys/folder", "==> /sys/folder <==", "x"],
        ["'/sys/link' -> 'a\0b'"],
        ["'/sys/link' -> '" + "a" * 5000 + "'"],
        ["/sys/a\0b"],
        ["/sys/\ud800", "==> /sys/\ud800/x <==", "x"],
        ["==> /sys/file <==", "\ud800"],
        ["'/sys/\ud800' -> 'x'", "deferred \ud800"],
        ["config /sys/" + "a" * 300 + " 00"],
    ],
)
def test_names_that_the_host_refuses_are_left_out(tmp_path: Path, lines: list[str]) -> None:
    sysfs_text.rebuild([*lines, "/sys/last"], tmp_path)
    assert (tmp_path / "sys/last").is_dir()


def test_links_in_a_loop(tmp_path: Path) -> None:
    lines = [
        "'/sys/bus/virtio/devices/virtio0' -> '../devices/virtio1'",
        "'/sys/bus/virtio/devices/virtio1' -> '../devices/virtio0'",
        "'/sys/bus/pci' -> '../bus/pci'",
    ]
    sysfs_text.rebuild(lines, tmp_path)
    assert snapshot(tmp_path / "sys").to_json()["devices"] == []
    assert read_end_state(["x"], tmp_path / "sys").registered is None


@pytest.mark.parametrize(
    "record",
    [
        "²,1,1,-;virtio", "6,1,٣,-;virtio", "6,1," + "9" * 5000 + ",-;virtio",
        "9" * 5000 + ",1,1,-;virtio", "-6,1,1,-;virtio", "6,1,-1,-;virtio", "6,1,nan,-;virtio",
        "6,1," + "9" * 16 + ",-;virtio",
    ],
)  # fmt: skip
def test_text_that_is_not_a_record_of_the_log(record: str) -> None:
    assert kmsg.parse(record.encode()) is None
    assert not kmsg.is_whole([record.encode()])


def test_the_latest_time_of_a_record_can_be_read_back() -> None:
    line = kmsg.parse(b"6,0,999999999999999,-;virtio0: late")
    assert line == LogLine(999999999999999000, 6, "virtio0: late")
    assert Log.from_json(json.loads(json.dumps(Log((line,)).to_json()))) == Log((line,))
    assert not kmsg.is_whole([b"6," + b"9" * 5000 + b",1,-;x"])


@pytest.mark.parametrize(
    "text",
    [
        b"xyz t probe\n", b"-1 t probe\n", b"t probe\n", b" t probe\n", b"\xff t probe\n",
        b"1" * 5000 + b" t probe\n",
    ],
)  # fmt: skip
def test_damaged_kallsyms(text: bytes) -> None:
    assert Addresses(text).functions(["probe"]) == {"probe": []}
    assert Addresses(text).variable("probe") == []


def test_text_that_is_not_a_pci_address() -> None:
    ranges = [(range(1), range(1 << 16), "0000:00:01.0")]
    assert viot.iommu_of(ranges, "0000:00:02.0") == "0000:00:01.0"
    for address in ("0000:-1:02.0", "0000:0_0:02.0", "0000:00:02.9", "0000:00:02", "a:b:c.d"):
        assert viot.iommu_of(ranges, address) is None


def test_a_release_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/osrelease").write_bytes(b"\xff\xfe")
    (tmp_path / "1").mkdir()
    (tmp_path / "1/root").symlink_to(tmp_path)
    (tmp_path / "1/mounts").write_text("rootfs / rootfs rw 0 0\n")
    found = InitrdRoot(tmp_path, Path("/")).modules({"virtio_net"})
    assert found is not None
    assert found.modules == ()


def test_files_are_read_up_to_a_limit_and_no_fifo_is_waited_for(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(8 << 30)
    assert len(sysfs.data(sparse) or b"") == sysfs.MAX_BYTES
    assert sysfs.data(sparse, 5) == bytes(5)
    os.mkfifo(tmp_path / "fifo")
    assert sysfs.text(tmp_path / "fifo") == ""
    assert sysfs.text(tmp_path) is sysfs.text(tmp_path / "gone") is sysfs.text(Path("a\0b")) is None
    assert (sysfs.lines(tmp_path / "gone"), sysfs.content(tmp_path)) == ([], "")
    assert (sysfs.entries(Path("a\0b")), sysfs.link(Path("a\0b"))) == ([], None)
