# SPDX-License-Identifier: GPL-2.0-or-later
"""``record --rebind`` in one guest: what it refuses, does, and leaves when killed.

The boot's own recorder records all of it: what was unbound, and what was not.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.vm.guest import Boot, Guest, run_json

NET, PARTITION, SWAP, LOOP, RNG = (f"0000:00:{slot:02x}.0" for slot in range(2, 7))
REFUSED, SCSI, CONSOLE = (f"0000:00:{slot:02x}.0" for slot in range(7, 10))


def _disk(name: str, device: str) -> tuple[str, ...]:
    """A disk that keeps its data, in an unnamed file of QEMU's."""
    drive = f"driver=null-co,size=67108864,read-zeroes=on,snapshot=on,if=none,id={name}"
    return ("-drive", drive, "-device", f"{device},drive={name}")


OPTIONS = (
    *("-netdev", "user,id=n2", "-device", "virtio-net-pci,romfile=,netdev=n2,addr=02.0"),
    *_disk("d3", "virtio-blk-pci,addr=03.0"),
    *_disk("d4", "virtio-blk-pci,addr=04.0"),
    *_disk("d5", "virtio-blk-pci,addr=05.0"),
    *("-device", "virtio-rng-pci,addr=06.0"),
    *("-netdev", "user,id=n7"),
    *("-device", "virtio-net-pci,romfile=,netdev=n7,ctrl_vq=off,addr=07.0"),
    *("-device", "virtio-scsi-pci,id=s8,addr=08.0", *_disk("d8", "scsi-hd,bus=s8.0")),
    *("-chardev", "null,id=c9", "-device", "virtio-serial-pci,addr=09.0"),
    *("-device", "virtconsole,chardev=c9"),
)

_SCRIPT = f"""
record() {{
    at "$1"
    shift
    rm -f /run/inner.vtr
    python3 -m virtio_trace record -q -o /run/inner.vtr "$@"
    echo "status $?"
}}
refused() {{ record "refused $1" --rebind "$2"; ls /run/inner.vtr; }}
name_at() {{ basename /sys/bus/pci/devices/$1/virtio*; }}
driver_at() {{ basename $(readlink /sys/bus/pci/devices/$1/virtio*/driver); }}
keep() {{ at "recording $1"; cat /run/inner.vtr; }}

modprobe -a ext4 loop
mkdir -p /mnt/partition /mnt/loop /mnt/scsi
printf 'n\\np\\n1\\n\\n\\nw\\n' | fdisk /dev/vda >/dev/null
mke2fs /dev/vda1 >/dev/null && mount -t ext4 /dev/vda1 /mnt/partition
mkswap /dev/vdb >/dev/null && swapon /dev/vdb
losetup /dev/loop0 /dev/vdc && mke2fs /dev/loop0 >/dev/null && mount -t ext4 /dev/loop0 /mnt/loop
mke2fs -F /dev/sda >/dev/null && mount -t ext4 /dev/sda /mnt/scsi
ip link set eth0 up
setsid -c sleep 10000 </dev/hvc0 >/dev/null 2>&1 &
at setting
cat /proc/mounts /proc/swaps

refused link {NET}
refused partition {PARTITION}
refused swap $(name_at {SWAP})
refused loop vdc
refused scsi {SCSI}
refused console {CONSOLE}
brctl addbr br0 && brctl addif br0 eth0 && ip link set br0 up
refused bridge {NET}
refused nothing 0000:00:1f.7
unshare -m sh -c 'echo $$ >/run/elsewhere; exec sleep 10000' &
until [ -s /run/elsewhere ]; do sleep 0.1; done
umount /mnt/partition
refused elsewhere /dev/vda1
kill $(cat /run/elsewhere)
mount -t ext4 /dev/vda1 /mnt/partition
at driver
driver_at {NET}; driver_at {PARTITION}; driver_at {SWAP}; driver_at {SCSI}

record rng --rebind {RNG}
keep rng
again=$(name_at {REFUSED})
record forced --force --rebind eth0 --rebind $again -- sh -c 'ls -d /sys/class/net/eth0; exit 3'
keep forced

at killed
umount /mnt/partition
python3 -m virtio_trace record -o /run/inner.vtr --rebind {PARTITION} >/dev/null 2>/run/inner.said &
recorder=$!
until grep -q 'rebind[.]rebinder' /proc/[0-9]*/cmdline; do sleep 0.02; done
kill -9 $recorder
wait $recorder
echo "status $?"
for n in $(seq 200); do
    grep -q 'rebind[.]rebinder' /proc/[0-9]*/cmdline || break
    sleep 0.1
done
driver_at {PARTITION}
swapoff /dev/vdb
umount /mnt/loop /mnt/scsi
claim="import os, time; os.open('/dev/vdb', os.O_RDONLY | os.O_EXCL); open('/run/claimed', 'w')"
python3 -c "$claim; time.sleep(10000)" &
until [ -e /run/claimed ]; do sleep 0.1; done
refused claim {SWAP}
"""

GUESTS = {"6.1": Guest("6.1", _SCRIPT, OPTIONS, seconds=120, python=True)}

HINT = "it would be gone for a moment, or for good: --force rebinds it anyway"
REASONS = {
    "link": "eth0 is the only network link",
    "partition": "vda1 is mounted at /mnt/partition",
    "swap": "vdb is swap space",
    "loop": "loop0, which is built on vdc, is mounted at /mnt/loop",
    "scsi": "sda is mounted at /mnt/scsi",
    "claim": "vdb is opened exclusively",
    "console": "hvc0 is the terminal of a process",
    "elsewhere": "vda1 is mounted at /mnt/partition in the mount namespace of process {} (sleep)",
    "bridge": "eth0 (with br0 on it) is the only network link",
}


def calls(booted: Boot, probe: str, address: str) -> list[dict[str, Any]]:
    """What the boot's own recorder saw."""
    return [
        line
        for line in booted.events()
        if line.get("probe") == probe
        and line["kind"] in ("entry", "hit")
        and line["device"]["address"] == address
    ]


def inner(booted: Boot, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report and the trailer of a recording made in the guest."""
    lines = booted.sections[f"recording {name}"]
    path = booted.recording.with_name(f"{name}.vtr")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    status, found = run_json("report", path)
    assert status == 0
    return found, json.loads(lines[-1])


def test_the_guest_is_as_it_should_be(booted: Boot) -> None:
    """Without this, the other tests prove nothing."""
    text = "\n".join(booted.sections["setting"])
    for line in ("/dev/vda1 /mnt/partition", "/dev/loop0 /mnt/loop", "/dev/sda /mnt/scsi"):
        assert line in text
    assert "/dev/vdb" in text


@pytest.mark.parametrize("case", REASONS)
def test_what_the_machine_needs_is_refused(case: str, booted: Boot) -> None:
    said, hint, status, *rest = booted.sections[f"refused {case}"]
    assert said.startswith("virtio-trace: --rebind ")
    reason = re.sub(r"process [0-9]+", "process {}", said.split(": ", 2)[2])
    assert reason == REASONS[case]
    assert (hint.strip(), status) == (HINT, "status 2")
    assert "No such file" in rest[0]  # no recording was begun


def test_an_address_that_no_device_has(booted: Boot) -> None:
    said, hint, *known, status, _ = booted.sections["refused nothing"]
    assert "no device on the VirtIO bus has this address" in said
    assert hint == "  there are:"
    assert [line.strip() for line in known] == [
        f"{NET} (virtio0, net, eth0)", f"{PARTITION} (virtio1, block, vda)",
        f"{SWAP} (virtio2, block, vdb)", f"{LOOP} (virtio3, block, vdc)",
        f"{RNG} (virtio4, rng)", f"{REFUSED} (virtio5, net)",
        f"{SCSI} (virtio6, scsi, sda)", f"{CONSOLE} (virtio7, console)",
    ]  # fmt: skip
    assert status == "status 2"


def test_what_was_refused_keeps_its_driver(booted: Boot) -> None:
    assert booted.sections["driver"] == ["virtio_net", "virtio_blk", "virtio_blk", "virtio_scsi"]
    for address in (SWAP, LOOP, SCSI, CONSOLE):
        assert calls(booted, "virtio_dev_remove", address) == []


@pytest.mark.parametrize(("name", "address"), [("rng", RNG), ("forced", NET)])
def test_the_procedure_of_a_rebound_device_is_complete(
    name: str, address: str, booted: Boot
) -> None:
    """As the boot's own recorder saw it, with all steps of VirtIO 3.1.1."""
    found, _ = inner(booted, name)
    (device,) = [d for d in found["devices"] if d["address"] == address]
    (binding,) = [b for b in found["bindings"] if b["device"] == address]
    assert (device["state"], device["snapshot"], binding["result"]) == ("bound", True, 0)
    function = {"rng": "virtrng_probe", "forced": "virtnet_probe"}[name]
    assert binding["function"] == function
    assert [write["value"] for write in binding["status"]] == [0x03, 0x0B, 0x0F]
    assert [write["value"] for write in device["status"]][:2] == [0x00, 0x01]
    assert binding["features"]["negotiated"] and binding["queues"]
    assert found["recording"]["complete"]
    theirs = [b for b in booted.report()["bindings"] if b["device"] == address]
    same = [b for b in theirs if b["features"] == binding["features"]]
    assert len(theirs) >= 2 and same


def test_how_it_ended(booted: Boot) -> None:
    rng, forced = inner(booted, "rng")[1], inner(booted, "forced")[1]
    assert (rng["ended"], rng["lost"], forced["ended"]) == ("rebind", 0, "command")
    assert forced["command_status"] == 3
    done = {"unbind": 0, "bind": 0, "ok": True}
    assert rng["rebinds"] == [
        {"address": RNG, "name": "virtio4", "driver": "virtio_rng", "bound": "virtio_rng", **done}
    ]
    assert [(r["address"], r["ok"]) for r in forced["rebinds"]] == [(NET, True), (REFUSED, False)]
    assert "status 0" in booted.sections["rng"]
    assert "status 3" in booted.sections["forced"]  # COMMAND's own comes before the failure


def test_force_says_what_it_overrides_and_command_comes_after(booted: Boot) -> None:
    said = booted.sections["forced"]
    reason = REASONS["bridge"]
    assert f"virtio-trace: warning: {NET}: {reason}" in said
    assert "/sys/class/net/eth0" in said  # it is back by then
    removed, bound = (
        calls(booted, probe, NET)[-1]["ns"] for probe in ("virtio_dev_remove", "virtio_dev_probe")
    )
    assert removed < bound


def test_a_device_that_fails_again(booted: Boot) -> None:
    """It has no driver: the bus looks for one, and the driver refuses it again."""
    warned = f"virtio-trace: warning: {REFUSED} (virtio5): no driver is bound to it now"
    assert warned in booted.sections["forced"]
    found, trailer = inner(booted, "forced")
    (device,) = [d for d in found["devices"] if d["address"] == REFUSED]
    assert device["state"] == "failed" and "virtnet_validate" in device["reason"]
    assert trailer["rebinds"][1] == {
        "address": REFUSED, "name": "virtio5", "driver": None,
        "unbind": None, "bind": 0, "bound": None, "ok": False,
    }  # fmt: skip


def test_a_recorder_that_is_killed_leaves_the_device_its_driver(booted: Boot) -> None:
    assert booted.sections["killed"][-2:] == ["status 137", "virtio_blk"]
    (removed,) = calls(booted, "virtio_dev_remove", PARTITION)
    bound = calls(booted, "virtio_dev_probe", PARTITION)[-1]
    assert removed["ns"] < bound["ns"]
