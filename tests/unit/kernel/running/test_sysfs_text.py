# SPDX-License-Identifier: GPL-2.0-or-later
"""sysfs from a guest's text, as a folder that snapshot() and read_end_state() read."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtio_trace.kernel.running import sysfs_text
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.host import bases, snapshot

# As a guest printed it (arm64, Linux 6.12), shortened.
TEXT = """\
==> /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/vendor <==
0x1af4

==> /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/device <==
0x1000

==> /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/driver_override <==
(null)

==> /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/virtio0/vendor <==
0x1af4

==> /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/virtio0/device <==
0x0001

==> /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/virtio0/status <==
0x0000000f

==> /sys/devices/platform/a003e00.virtio_mmio/virtio1/status <==
0x00000001

==> /sys/bus/virtio/drivers_autoprobe <==
1

==> /sys/module/virtio_net/initstate <==
live
'/sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/driver' -> '../../../../../bus/pci/drivers/virtio-pci'
'/sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/subsystem' -> '../../../../../bus/pci'
'/sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/virtio0/driver' -> '../../../../../../bus/virtio/drivers/virtio_net'
'/sys/devices/platform/a003e00.virtio_mmio/subsystem' -> '../../../bus/platform'
'/sys/bus/pci/devices/0000:00:02.0' -> '../../../devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0'
'/sys/bus/virtio/devices/virtio0' -> '../../../devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/virtio0'
'/sys/bus/virtio/devices/virtio1' -> '../../../devices/platform/a003e00.virtio_mmio/virtio1'
'/sys/bus/virtio/drivers/virtio_net/module' -> '../../../../module/virtio_net'
/sys/bus/pci
/sys/bus/pci/drivers/virtio-pci
/sys/bus/virtio
/sys/bus/virtio/drivers/virtio_net
config /sys/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0 f41a0010
deferred 0000:00:03.0\t
"""  # noqa: E501


def test_a_guests_text_is_read_like_sysfs(tmp_path: Path) -> None:
    sysfs_text.rebuild(TEXT.splitlines(), tmp_path)
    bus = snapshot(tmp_path / "sys").to_json()
    assert bus["bus"] is True
    first, second = bus["devices"]
    assert (first["name"], first["address"], first["bus"]) == ("virtio0", "0000:00:02.0", "pci")
    assert (first["id"], first["status"], first["driver"]) == (1, 15, "virtio_net")
    assert (second["address"], second["bus"], second["driver"]) == (
        "a003e00.virtio_mmio", "platform", None,
    )  # fmt: skip
    assert bus["drivers"] == [{"name": "virtio_net", "module": "virtio_net"}]
    end = read_end_state(
        {"virtio_net", "virtio_blk"}, tmp_path / "sys", tmp_path / sysfs_text.DEBUGFS
    )
    assert end.autoprobe == {"virtio": True, "pci": None}
    assert end.modules == ("virtio_net",)
    assert end.deferred == {"0000:00:03.0": None}
    (function,) = end.pci
    assert (function.address, function.driver, function.override) == (
        "0000:00:02.0", "virtio-pci", None,
    )  # fmt: skip
    config = tmp_path / "sys/bus/pci/devices/0000:00:02.0/config"
    assert config.read_bytes() == bytes.fromhex("f41a0010")


@pytest.mark.parametrize(
    "lines",
    [
        ["==> /../outside <==", "x"],
        ["==> //outside <==", "x"],
        ["==> /sys/../../outside <==", "x"],
        ["'/sys/link' -> '../../..'", "==> /sys/link/outside <==", "x"],
        ["'/sys/link' -> '/etc'"],
        ["'/sys/link' -> '../etc/passwd'"],
        ["'/sys/a/b/c/link' -> '../../../d'", "'/sys/a/b/c/link/e' -> '../../../../x'"],
        ["/../outside"],
        ["config /../outside f41a"],
        ["==> /sys/a\0b <==", "x"],
        ["==> /sys/" + "a" * 300 + " <==", "x"],
        ["==> /sys/file <==", "x", "==> /sys/file/below <==", "x"],
    ],
)
def test_a_guest_creates_nothing_outside(tmp_path: Path, lines: list[str]) -> None:
    root = tmp_path / "a" / "root"
    root.mkdir(parents=True)
    sysfs_text.rebuild(lines, root)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["root"]
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root.resolve())


def test_lines_that_make_no_sense_are_ignored(tmp_path: Path) -> None:
    sysfs_text.rebuild(
        ["", "==> <==", "'' -> ''", "config", "\x1b[31m", "==> /sys/a <=="], tmp_path
    )
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"devices_deferred"}


def test_where_virtio_mmio_has_its_registers(tmp_path: Path) -> None:
    """ACPI's name does not say it; /proc/iomem does."""
    text = TEXT.replace("a003e00.virtio_mmio", "LNRO0005:1f")
    text += "iomem 0a003e00-0a003fff : LNRO0005:1f\niomem   0a003e00-0a003fff : x LNRO0005:1f\n"
    sysfs_text.rebuild(text.splitlines(), tmp_path)
    pci, mmio = snapshot(tmp_path / "sys").devices
    assert (pci.base, mmio.address, mmio.base) == (None, "LNRO0005:1f", 0xA003E00)
    assert mmio.mmio_base == 0xA003E00


def test_a_device_trees_name_has_the_address_itself(tmp_path: Path) -> None:
    sysfs_text.rebuild(TEXT.splitlines(), tmp_path)
    _, mmio = snapshot(tmp_path / "sys").devices
    assert (mmio.base, mmio.mmio_base) == (None, 0xA003E00)


def test_addresses_that_only_root_may_see_are_unknown() -> None:
    assert bases("00000000-00000000 : LNRO0005:1f\nx : LNRO0005:1f\n") == {}
