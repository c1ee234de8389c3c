# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/running/host.py on folders that look like /proc and /sys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from virtio_trace.kernel.running import sysfs_text
from virtio_trace.kernel.running.abilities import Abilities
from virtio_trace.kernel.running.host import HostKernel, has_common_cfg, interrupts, snapshot
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.tracer.executor import sysfs as executor_sysfs
from virtio_trace.tracer.executor.tree import Tree


@pytest.fixture
def here(tmp_path: Path) -> HostKernel:
    for name in ("proc/sys/kernel", "sys/kernel/tracing"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0-test\n")
    return HostKernel(
        tmp_path / "proc", tmp_path / "sys", tmp_path / "boot", tmp_path / "lib/modules"
    )


def test_tracefs_under_debugfs(here: HostKernel) -> None:
    (here.sys / "kernel/debug/tracing/events").mkdir(parents=True)
    assert here.tracefs() == here.sys / "kernel/debug/tracing"


def test_the_configuration_is_found_where_distributions_put_it(here: HostKernel) -> None:
    assert here.config is None
    for path in (here.boot / "config-6.1.0-test", here.modules / "6.1.0-test/config"):
        path.parent.mkdir(parents=True)
        path.write_text('CONFIG_A=y\nCONFIG_B="x y"\n# CONFIG_C is not set\n# a comment\n')
        again = HostKernel(here.proc, here.sys, here.boot, here.modules)
        assert again.config == {"CONFIG_A": "y", "CONFIG_B": '"x y"', "CONFIG_C": "n"}
        assert "CONFIG_DEBUG_INFO_BTF" in Abilities(again).btf().reason
        path.unlink()


def test_modules_and_release(here: HostKernel) -> None:
    assert here.loaded_modules() == frozenset()
    (here.proc / "modules").write_text("virtio_net 1 0 - Live 0x0\nvirtio 2 1 a, Live 0x0 (E)\n")
    assert here.loaded_modules() == {"virtio_net", "virtio"}
    assert here.module_tree == here.modules / "6.1.0-test"


def test_kallsyms(here: HostKernel) -> None:
    (here.proc / "kallsyms").write_text(
        "0000000000000000 t vp_set_status\n"
        "0000000000000010 t vp_set_status\n"
        "0000000000000020 T register_virtio_device\t[virtio]\n"
        "0000000000000028 T __register_virtio_device\n"
        "0000000000000030 r virtio_dev_probe\n"
        "0000000000000040 t virtio_dev_probe.cold\n"
        "0000000000000050 t virtnet_probe\t[bpf]\n"
        "0000000000000060 W really_probe\n"
        "0000000000000070 t really_probe\t[other]\n"
        "0000000000000080 t the_last"
    )
    names = ("vp_set_status", "register_virtio_device", "virtio_dev_probe", "virtnet_probe")
    assert here.addresses().functions([*names, "really_probe", "the_last"]) == {
        "vp_set_status": [(None, 0), (None, 0x10)],
        "register_virtio_device": [("virtio", 0x20)],
        "virtio_dev_probe": [],
        "virtnet_probe": [],
        "really_probe": [(None, 0x60), ("other", 0x70)],
        "the_last": [(None, 0x80)],
    }
    assert here.addresses().functions([]) == {}


def test_no_kallsyms(here: HostKernel) -> None:
    assert here.addresses().functions(["x"]) == {"x": []}


def _device(sys: Path, parent: str, bus: str, name: str, **files: str) -> Path:
    path = sys / "devices" / parent / name
    path.mkdir(parents=True)
    for file, text in files.items():
        (path / file).write_text(text + "\n")
    (sys / "bus" / bus).mkdir(parents=True, exist_ok=True)
    if not (path.parent / "subsystem").is_symlink():
        (path.parent / "subsystem").symlink_to(sys / "bus" / bus)
    (sys / "bus/virtio/devices").mkdir(parents=True, exist_ok=True)
    (sys / "bus/virtio/devices" / name).symlink_to(path)
    return path


def test_the_bus(tmp_path: Path) -> None:
    for number, name in enumerate(("0000:00:02.0", "0000:00:03.0")):
        index = (10, 2)[number]
        path = _device(
            tmp_path,
            f"pci0000:00/{name}",
            "pci",
            f"virtio{index}",
            device="0x0001",
            vendor="0x1af4",
            status="0x0000000f",
            modalias="virtio:d00000001v00001AF4",
            features="0110",
        )
        (path.parent / "vendor").write_text("0x1af4\n")
        (path.parent / "device").write_text("0x1041\n")
        (path.parent / "subsystem_device").write_text("0x1100\n")
    _device(tmp_path, "platform/LNRO0005:00", "platform", "virtio3", device="0x0004")
    drivers = tmp_path / "bus/virtio/drivers"
    (drivers / "virtio_net").mkdir(parents=True)
    (drivers / "virtio_net/module").symlink_to("../../../../module/virtio_net")
    (drivers / "virtio_console").mkdir()
    (path / "driver").symlink_to("../../../../bus/virtio/drivers/virtio_net")
    (tmp_path / "bus/virtio/devices/virtio9").symlink_to("/nowhere")
    seen = snapshot(tmp_path).to_json()
    assert seen["bus"] is True
    assert [d["name"] for d in seen["devices"]] == ["virtio2", "virtio3", "virtio10"]
    assert seen["devices"][0] == {
        "name": "virtio2",
        "address": "0000:00:03.0",
        "bus": "pci",
        "index": 2,
        "id": 1,
        "vendor": 0x1AF4,
        "modalias": "virtio:d00000001v00001AF4",
        "driver": "virtio_net",
        "status": 15,
        "features": "0110",
        "pci": {"vendor": 0x1AF4, "device": 0x1041, "subsystem_device": 0x1100, "modern": None},
    }
    mmio = seen["devices"][1]
    assert (mmio["bus"], mmio["pci"], mmio["driver"]) == ("platform", None, None)
    assert (mmio["vendor"], mmio["status"]) == (None, None)
    assert seen["drivers"] == [
        {"name": "virtio_console", "module": None},
        {"name": "virtio_net", "module": "virtio_net"},
    ]


def test_a_kernel_without_virtio(tmp_path: Path) -> None:
    assert snapshot(tmp_path).to_json() == {"bus": False, "devices": [], "drivers": []}


def _config_space(*capabilities: tuple[int, int]) -> bytes:
    """A PCI configuration space with capabilities of (id, type), one after the other."""
    config = bytearray(256)
    if capabilities:
        config[0x06] |= 0x10
        config[0x34] = 0x40
    for number, (kind, what) in enumerate(capabilities):
        place = 0x40 + 0x14 * number
        last = number == len(capabilities) - 1
        config[place : place + 4] = bytes([kind, 0 if last else place + 0x14, 0x14, what])
    return bytes(config)


def test_a_modern_pci_device_has_a_common_configuration() -> None:
    assert has_common_cfg(_config_space((0x11, 0), (0x09, 5), (0x09, 1)))
    assert not has_common_cfg(_config_space((0x11, 1), (0x09, 5)))
    assert not has_common_cfg(_config_space())


def test_a_circular_list_of_capabilities_ends() -> None:
    config = bytearray(_config_space((0x11, 0)))
    config[0x41] = 0x40
    assert not has_common_cfg(bytes(config))


def _carrier(sys: Path) -> None:
    """What two devices carry: an interface, and a SCSI disk, deep below its device."""
    for place, kind in (("0000:00:02.0/virtio0", "0x0001"), ("0000:00:03.0/virtio10", "0x0008")):
        path = sys / "devices/pci0000:00" / place
        path.mkdir(parents=True)
        (path / "device").write_text(f"{kind}\n")
        (sys / "bus/virtio/devices").mkdir(parents=True, exist_ok=True)
        entry = sys / "bus/virtio/devices" / path.name
        entry.symlink_to(f"../../../devices/pci0000:00/{place}")
    disk = "0000:00:03.0/virtio10/host2/target2:0:0/2:0:0:0/block/sda"
    for link, where in (
        ("class/net/virtio7", "../../devices/pci0000:00/0000:00:02.0/virtio0/net/virtio7"),
        ("class/net/lo", "../../devices/virtual/net/lo"),
        ("block/sda", f"../devices/pci0000:00/{disk}"),
        ("block/loop0", "../devices/virtual/block/loop0"),
    ):
        (sys / link).parent.mkdir(parents=True, exist_ok=True)
        (sys / link).symlink_to(where)


def test_the_interfaces_and_disks_that_a_device_carries(tmp_path: Path) -> None:
    """An interface may have any name, also that of a device."""
    _carrier(tmp_path / "sys")
    first, second = snapshot(tmp_path / "sys").devices
    assert (first.name, first.carries) == ("virtio0", ("virtio7",))
    assert (second.name, second.carries) == ("virtio10", ("sda",))
    assert all(second.is_called(name) for name in ("0000:00:03.0", "virtio10", "sda"))
    assert not second.is_called("virtio1")
    assert second.to_json()["carries"] == ("sda",)
    assert SysfsDevice.from_json(json.loads(json.dumps(second.to_json()))) == second


def test_an_executor_sends_what_devices_carry(tmp_path: Path) -> None:
    """The text of the executor, turned back into a folder, says the same."""
    sys = tmp_path / "sys"
    _carrier(sys)
    descriptor = os.open(sys, os.O_RDONLY | os.O_DIRECTORY)
    try:
        text = executor_sysfs.lines(Tree(descriptor))
    finally:
        os.close(descriptor)
    (tmp_path / "again").mkdir()
    sysfs_text.rebuild(text.splitlines(), tmp_path / "again")
    theirs = snapshot(tmp_path / "again/sys").devices
    assert [device.carries for device in theirs] == [("virtio7",), ("sda",)]
    assert "loop0" not in text


INTERRUPTS = """\
            CPU0       CPU1
   4:        120          0  IO-APIC   4-edge      ttyS0
  11:          3          4  IO-APIC  11-fasteoi   virtio4, ehci_hcd:usb1, virtio5
  24:          0          0  PCI-MSIX-0000:00:02.0   0-edge      virtio0-config
  25:         10          2  PCI-MSIX-0000:00:02.0   1-edge      virtio0-input.0
  30:          7          0  PCI-MSI 65537-edge      virtio3-virtqueues
  47:          1          1  GICv3  78 Edge      virtio6
 NMI:          5          5  Non-maskable interrupts of virtio9
  48:  virtio7-config
  49:          1
"""


def test_interrupts_are_summed_over_the_processors() -> None:
    assert interrupts(INTERRUPTS) == {
        "virtio0": {"config": 0, "input.0": 12},
        "virtio3": {"virtqueues": 7},
        "virtio4": {"": 7},
        "virtio5": {"": 7},
        "virtio6": {"": 2},
    }
    assert interrupts("") == {}
