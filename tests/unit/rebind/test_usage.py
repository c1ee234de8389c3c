# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a device must not be rebound, from plain data; and the reading of that data.

tests/vm/test_rebind.py has what a real kernel shows; this has what none of our guests has.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from virtio_trace.cli.support.rebind import Rebinds, chosen
from virtio_trace.errors import UsageError
from virtio_trace.rebind import read_usage as reading
from virtio_trace.rebind import rebinder
from virtio_trace.rebind.usage import Block, Link, MachineUsage, Mount, VirtioDevice, reasons

PCI = "/sys/devices/pci0000:00"
DISK = VirtioDevice("virtio1", "0000:00:03.0", 2, "virtio_blk", f"{PCI}/0000:00:03.0/virtio1")
CARD = VirtioDevice("virtio0", "0000:00:02.0", 1, "virtio_net", f"{PCI}/0000:00:02.0/virtio0")
VDA = Block("vda", f"{DISK.path}/block/vda")
VDA1 = Block("vda1", f"{DISK.path}/block/vda/vda1")
VDB = Block("vdb", f"{PCI}/0000:00:04.0/virtio2/block/vdb")
ETH0 = Link("eth0", f"{CARD.path}/net/eth0", True, True)
ETH1 = Link("eth1", f"{PCI}/0000:00:05.0/virtio3/net/eth1", True, True)


def virtual(name: str, *below: str) -> Link:
    return Link(name, f"/sys/devices/virtual/net/{name}", True, False, below)


def built(block: Block, *names: str) -> Block:
    return replace(block, above=names)


def above(name: str, *names: str, label: str | None = None) -> Block:
    return Block(name, f"/sys/devices/virtual/block/{name}", names, label)


def mount(point: str, *blocks: str, kind: str = "ext4", source: str = "/dev/x") -> Mount:
    return Mount(kind, source, point, blocks)


def test_a_disk_that_nobody_uses() -> None:
    other = mount("/", "vdb")
    assert reasons(DISK, MachineUsage((VDA, VDA1, VDB), (other,), swaps=("vdb",))) == []
    assert reasons(DISK, MachineUsage()) == []


def test_the_root_disk() -> None:
    machine = MachineUsage((VDA, VDA1), (mount("/", "vda1"), mount("/home", "vda1")))
    assert reasons(DISK, machine) == [
        "the root file system is on vda1", "vda1 is mounted at /home",
    ]  # fmt: skip


def test_a_device_without_a_driver_has_nothing_to_lose() -> None:
    machine = MachineUsage((VDA,), (mount("/", "vda"),))
    assert reasons(replace(DISK, driver=None), machine) == []


def test_a_device_whose_address_begins_alike() -> None:
    longer = replace(VDA, path=VDA.path.replace("/virtio1/", "/virtio11/"))
    assert reasons(DISK, MachineUsage((longer,), (mount("/", "vda"),))) == []


def test_lvm_on_luks_on_a_partition() -> None:
    machine = MachineUsage(
        (VDA, built(VDA1, "dm-0"), above("dm-0", "dm-1", "dm-2", label="luks"),
         above("dm-1", label="debian-root"), above("dm-2", label="debian-swap")),
        (mount("/", "dm-1"),),
        swaps=("dm-2",),
    )  # fmt: skip
    assert reasons(DISK, machine) == [
        "the root file system is on dm-1 (debian-root), which is built on vda1",
        "dm-2 (debian-swap), which is built on vda1, is swap space",
    ]


def test_a_raid_of_two_disks_is_needed_of_both() -> None:
    md = above("md0")
    machine = MachineUsage((built(VDA, "md0"), built(VDB, "md0"), md), (mount("/srv", "md0"),))
    said = ["md0, which is built on vda, is mounted at /srv"]
    assert reasons(DISK, machine) == said
    other = replace(DISK, path=f"{PCI}/0000:00:04.0/virtio2")
    assert reasons(other, machine) == [said[0].replace("vda", "vdb")]


def test_holders_in_a_circle_end() -> None:
    machine = MachineUsage((built(VDA, "dm-0"), above("dm-0", "vda")), (mount("/x", "dm-0"),))
    assert len(reasons(DISK, machine)) == 1


def test_what_is_built_on_a_disk_and_not_mounted() -> None:
    machine = MachineUsage((built(VDA, "dm-0"), above("dm-0", label="data")))
    assert reasons(DISK, machine) == ["dm-0 (data) is built on vda"]


def test_a_claim_that_nothing_explains() -> None:
    held = replace(VDA1, held=True)
    assert reasons(DISK, MachineUsage((VDA, held))) == ["vda1 is opened exclusively"]
    assert reasons(DISK, MachineUsage((VDA, held), (mount("/", "vda1"),))) == [
        "the root file system is on vda1"
    ]


@pytest.mark.parametrize(("number", "kind"), [(9, "9p"), (26, "virtiofs")])
def test_shares(number: int, kind: str) -> None:
    share = VirtioDevice(
        "virtio5", "0000:00:06.0", number, "x", f"{PCI}/0000:00:06.0/virtio5", "home"
    )
    machine = MachineUsage(
        mounts=(mount("/home", kind=kind, source="home"), mount("/x", source="home"))
    )
    assert reasons(share, machine) == [f"the {kind} share home is mounted at /home"]
    assert reasons(replace(share, tag="other"), machine) == []
    (said,) = reasons(replace(share, tag=None), machine)
    assert said.endswith("mounted at /home, and its device is not known")
    root = MachineUsage(mounts=(mount("/", kind=kind, source="home"),))
    assert reasons(share, root) == [f"the {kind} share home is the root file system"]


ROUTE = (("eth0",), ())


def test_the_only_link() -> None:
    said = ["eth0 is the only network link"]
    assert reasons(CARD, MachineUsage(links=(ETH0,))) == said
    down = replace(ETH1, up=False)
    assert reasons(CARD, MachineUsage(links=(ETH0, down, virtual("docker0")), routes=ROUTE)) == said
    assert reasons(CARD, MachineUsage(links=(ETH0, ETH1))) == []
    assert reasons(CARD, MachineUsage(links=(replace(ETH0, up=False),))) == []


def test_the_default_route() -> None:
    said = ["the default route goes through eth0"]
    links = (ETH0, ETH1)
    assert reasons(CARD, MachineUsage(links=links, routes=ROUTE)) == said
    assert reasons(CARD, MachineUsage(links=links, routes=(("eth1",), ("eth0",)))) == said
    assert reasons(CARD, MachineUsage(links=links, routes=(("eth1", "eth0"), ("eth1",)))) == []


def test_bridges_bonds_and_vlans() -> None:
    bridge, vlan = virtual("br0", "eth0", "tap0"), virtual("br0.5", "br0")
    machine = MachineUsage(
        links=(ETH0, ETH1, bridge, vlan, virtual("tap0")), routes=(("br0.5",), ())
    )
    assert reasons(CARD, machine) == ["the default route goes through eth0 (with br0, br0.5 on it)"]
    bond = MachineUsage(
        links=(ETH0, ETH1, virtual("bond0", "eth0", "eth1")), routes=(("bond0",), ())
    )
    assert reasons(CARD, bond) == []
    alone = replace(bond, links=(ETH0, replace(ETH1, up=False), bond.links[2]))
    assert reasons(CARD, alone) == ["eth0 (with bond0 on it) is the only network link"]
    tunnel = MachineUsage(links=(ETH0, ETH1, virtual("wg0")), routes=(("wg0",), ()))
    assert reasons(CARD, tunnel) == []


def test_consoles() -> None:
    port = VirtioDevice(
        "virtio4", "0000:00:08.0", 3, "virtio_console", f"{PCI}/0000:00:08.0/virtio4"
    )
    machine = MachineUsage(consoles=("ttyS0", "hvc0"), terminals=("hvc1",))
    said = ["hvc0 is a console of the kernel", "hvc1 is the terminal of a process"]
    assert reasons(port, machine) == said  # the owner is not known
    assert reasons(replace(port, console=True), machine) == said
    assert reasons(replace(port, console=False), machine) == []
    assert reasons(DISK, machine) == []


def test_a_screen() -> None:
    screen = VirtioDevice(
        "virtio7", "0000:00:09.0", 16, "virtio_gpu", f"{PCI}/0000:00:09.0/virtio7"
    )
    shown = MachineUsage(consoles=("tty0",), frames=(("fb0", f"{screen.path}/graphics/fb0"),))
    assert reasons(screen, shown) == ["fb0 shows the console tty0"]
    assert reasons(screen, replace(shown, consoles=("ttyS0",))) == []


# -- reading


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


INFO = "36 35 {number} / {point} rw,relatime shared:1 - {kind} {source} rw\n"


def test_mounts_of_every_namespace(tmp_path: Path) -> None:
    """A btrfs pool has a device number of its own, and needs all its disks."""
    pool = INFO.format(number="0:40", point="/a\\040b", kind="btrfs", source="/dev/vda1")
    plain = INFO.format(number="254:16", point="/srv", kind="ext4", source="/dev/root")
    write(tmp_path, {
        "proc/self/mountinfo": pool, "proc/1/mountinfo": pool + plain, "proc/7/mountinfo": "x\n",
        "sys/class/block/vda1/dev": "254:1\n", "sys/class/block/vdb/dev": "254:16\n",
        "sys/class/block/vdc/dev": "254:32\n",
        "sys/fs/btrfs/0a/devices/vda1/x": "", "sys/fs/btrfs/0a/devices/vdc/x": "",
    })  # fmt: skip
    found = reading.machine_usage(tmp_path / "sys", tmp_path / "proc", tmp_path / "dev").mounts
    assert {(m.kind, m.point, m.blocks) for m in found} == {
        ("btrfs", "/a b", ("vda1", "vdc")), ("ext4", "/srv", ("root", "vdb")),
    }  # fmt: skip


def test_a_mount_in_another_namespace_is_said_to_be_there(tmp_path: Path) -> None:
    """A service's private mounts outlive an umount in ours; those at the same place are ours."""
    ours = INFO.format(number="254:16", point="/srv", kind="ext4", source="/dev/vdb")
    theirs = INFO.format(number="254:1", point="/mnt", kind="ext4", source="/dev/vda1")
    write(tmp_path, {
        "proc/self/mountinfo": ours, "proc/312/mountinfo": ours + theirs,
        "proc/312/comm": "systemd-logind\n",
        "sys/class/block/vda1/dev": "254:1\n", "sys/class/block/vdb/dev": "254:16\n",
    })  # fmt: skip
    found = reading.machine_usage(tmp_path / "sys", tmp_path / "proc", tmp_path / "dev").mounts
    assert [(m.point, m.elsewhere) for m in found] == [
        ("/srv", ""), ("/mnt", "process 312 (systemd-logind)"),
    ]  # fmt: skip
    machine = MachineUsage((VDA, VDA1), found)
    assert reasons(DISK, machine) == [
        "vda1 is mounted at /mnt in the mount namespace of process 312 (systemd-logind)"
    ]
    root = replace(found[1], point="/")
    assert reasons(DISK, MachineUsage((VDA, VDA1), (root,)))[0].startswith(
        "vda1 is mounted at / in"
    )


BUS = [CARD, DISK, VirtioDevice("virtio5", "0000:00:06.0", 4, None, f"{PCI}/0000:00:06.0/virtio5")]


@pytest.mark.parametrize(
    "name", ["0000:00:03.0", "virtio1", "vda", "vda1", "/dev/vda", "/dev/vda1"]
)
def test_a_device_is_named_by_what_it_carries(name: str) -> None:
    assert chosen([name, "eth0"], BUS, MachineUsage((VDA, VDA1), links=(ETH0,))) == [DISK, CARD]


def test_the_list_of_devices_has_types_disks_and_interfaces() -> None:
    machine = MachineUsage((VDA, VDA1, VDB), links=(ETH0, ETH1))
    for name in ("vdb", "eth1", "virtio9", "lo"):
        with pytest.raises(UsageError, match=f"--rebind {name}: no device") as raised:
            chosen([name], BUS, machine)
        assert raised.value.hint.splitlines() == [
            "there are:", "  0000:00:02.0 (virtio0, net, eth0)",
            "  0000:00:03.0 (virtio1, block, vda)", "  0000:00:06.0 (virtio5, rng)",
        ]  # fmt: skip


def test_swap_and_routes(tmp_path: Path) -> None:
    none = "0" * 32
    write(tmp_path, {
        "proc/swaps": "Filename Type Size Used Priority\n/dev/vdb partition 1 0 -2\n"
        "/swap\\040file file 1 0 -3\n",
        "sys/class/block/vdb/dev": "254:16\n",
        "proc/net/route": "Iface Destination Gateway Flags RefCnt Use Metric Mask\n"
        "eth0 00000000 0202000A 0003 0 0 0 00000000\neth0 0002000A 0 0001 0 0 0 00FFFFFF\n",
        "proc/net/ipv6_route": f"{none} 00 {none} 00 {none} 400 1 0 00000003 eth1\n"
        f"{none} 00 {none} 00 {none} ffffffff 1 0 00200200 lo\n",
        "proc/consoles": "tty0 -WU (EC p ) 4:1\nhvc0 -W- (E  p ) 229:0\n",
        "proc/9/stat": "9 (a) b) S 1 9 9 58625 9 0\n",
    })  # fmt: skip
    found = reading.machine_usage(tmp_path / "sys", tmp_path / "proc", tmp_path / "dev")
    assert found.swaps == ("vdb",)
    assert found.routes == (("eth0",), ("eth1",))
    assert (found.consoles, found.terminals) == (("tty0", "hvc0"), ("hvc1",))


def test_what_stands_above_a_disk(tmp_path: Path) -> None:
    write(tmp_path, {
        "sys/class/block/vda/dev": "254:0", "sys/class/block/vda/holders/dm-0/x": "",
        "sys/class/block/dm-0/dev": "253:0", "sys/class/block/dm-0/dm/name": "data\n",
        "sys/block/loop0/loop/backing_file": "/dev/vda\n",
    })  # fmt: skip
    found = reading.machine_usage(tmp_path / "sys", tmp_path / "proc", tmp_path / "dev").blocks
    assert {(block.name, block.above, block.label) for block in found} == {
        ("vda", ("dm-0", "loop0"), None), ("dm-0", (), "data"),
    }  # fmt: skip


def test_nothing_there(tmp_path: Path) -> None:
    assert reading.machine_usage(tmp_path, tmp_path, tmp_path) == MachineUsage(routes=((), ()))
    assert reading.virtio_devices(tmp_path) == []


def test_this_machine_can_be_read() -> None:
    """At least its root is mounted."""
    assert any(mount.point == "/" for mount in reading.machine_usage().mounts)


def test_force_belongs_to_rebind() -> None:
    assert not Rebinds([], False)
    with pytest.raises(UsageError, match="nothing to force"):
        Rebinds([], True)


def test_a_write_that_is_refused_is_an_errno(tmp_path: Path) -> None:
    (tmp_path / "devices/virtio0").mkdir(parents=True)
    (tmp_path / "drivers/virtio_net").mkdir(parents=True)
    none = rebinder.rebind("virtio0", "virtio_net", tmp_path)
    assert none == {"unbind": 2, "bind": None, "driver": None}  # and it is not bound
    (tmp_path / "drivers/virtio_net/unbind").touch()
    (tmp_path / "devices/virtio0/driver").symlink_to("../../drivers/virtio_net")
    kept = rebinder.rebind("virtio0", "virtio_net", tmp_path)
    assert kept == {"unbind": None, "bind": 2, "driver": "virtio_net"}
    assert (tmp_path / "drivers/virtio_net/unbind").read_text() == "virtio0"
    (tmp_path / "drivers_probe").touch()
    assert rebinder.rebind("virtio0", None, tmp_path)["bind"] is None
