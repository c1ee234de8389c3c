# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a device did not come up: devices that fail in known ways, compared with the kernel's log."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from tests.vm import oracle, qmp
from tests.vm.guest import Boot, Guest

_NET = "virtio-net-pci,romfile="
_FORBIDDEN = "module_blacklist=virtio_rng initcall_blacklist=virtio_scsi_init"
_BOARD = (
    *("-nic", "none", "-object", "cryptodev-backend-builtin,id=c0"),
    *("-device", f"{_NET},addr=02.0"),
    *("-device", f"{_NET},ctrl_vq=off,addr=03.0"),
    *("-device", f"{_NET},disable-modern=on,disable-legacy=off,addr=04.0"),
    *("-device", "virtio-balloon-pci,disable-legacy=on,iommu_platform=on,addr=05.0"),
    *("-device", "virtio-crypto-pci,cryptodev=c0,addr=06.0"),
    *("-device", "virtio-rng-pci,addr=07.0"),
    *("-device", "virtio-scsi-pci,addr=08.0"),
    *("-device", f"{_NET},vectors=0,addr=09.0"),
    *("-blockdev", "null-co,node-name=d10,size=67108864", "-device"),
    "virtio-blk-pci,drive=d10,logical_block_size=65536,physical_block_size=65536,addr=0a.0",
    *("-blockdev", "null-co,node-name=d12,size=67108864"),
    *("-device", "virtio-blk-pci,drive=d12,vectors=0,addr=0c.0"),
    *("-chardev", "null,id=s3", "-device", "isa-serial,index=3,chardev=s3"),
)
_INTERRUPT_TAKEN = """
cat >/run/take.py <<'PY'
import fcntl, os, struct, sys, time
fd = os.open("/dev/ttyS3", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
line = bytearray(72)  # struct serial_struct
fcntl.ioctl(fd, 0x541E, line)  # TIOCGSERIAL
struct.pack_into("i", line, 12, int(sys.argv[1]))  # its irq
fcntl.ioctl(fd, 0x541F, line)  # TIOCSSERIAL: a serial port does not share its interrupt
open("/run/taken", "w").close()
time.sleep(600)
PY
cd /sys/bus/pci/devices/0000:00:0c.0; name=$(echo virtio*)
echo "$name" >/sys/bus/virtio/drivers/virtio_blk/unbind
python3 /run/take.py "$(cat irq)" &
while [ ! -e /run/taken ] && kill -0 $!; do sleep 0.1; done
at interrupts; cat /proc/interrupts
echo "$name" >/sys/bus/virtio/drivers/virtio_blk/bind
kill $!; wait $!
cd /
"""
_BLACKLISTED = """
mkdir -p /etc/modprobe.d
echo "blacklist virtio_input" >/etc/modprobe.d/no-input.conf
ask keyboard
while [ ! -e /sys/bus/pci/devices/0000:00:10.0/virtio*/modalias ]; do sleep 0.1; done
cat /sys/bus/pci/devices/0000:00:10.0/virtio*/modalias >/run/alias
modprobe -b -a $(cat /run/alias)
"""
_AUTOPROBE_OFF = """
echo 0 >/sys/bus/virtio/drivers_autoprobe
cd /sys/bus/pci/drivers/virtio-pci; echo 0000:00:02.0 >unbind; echo 0000:00:02.0 >bind; cd /
show_bus final
at modules; cut -d' ' -f1 /proc/modules
"""
_BEHIND_AN_IOMMU = (
    *("-machine", "q35", "-nic", "none", "-device", "virtio-iommu-pci,addr=01.0"),
    *("-device", f"{_NET},disable-legacy=on,iommu_platform=on,addr=02.0"),
    *("-device", "virtio-rng-pci,addr=03.0"),
)
_DEFERRED = """
at deferred; cat /sys/kernel/debug/devices_deferred
at drivers
for d in /sys/bus/pci/devices/*; do echo "${d##*/} $(readlink "$d/driver" || echo -)"; done
"""


def _host(_name: str, monitor: qmp.Qmp) -> Any:
    """Plugs in a device whose driver must not be loaded."""
    return monitor.command("device_add", driver="virtio-keyboard-pci", addr="10.0")


GUESTS = {
    "6.1": Guest(
        "6.1",
        oracle.SYSFS + _INTERRUPT_TAKEN + _BLACKLISTED + _AUTOPROBE_OFF,
        _BOARD,
        append=_FORBIDDEN,
        seconds=30,
        host=_host,
        python=True,
    ),
    "6.12": Guest(
        "6.12", _DEFERRED, _BEHIND_AN_IOMMU, append="modprobe.blacklist=virtio_iommu", seconds=30
    ),
}

Boots = dict[tuple[str, str], Future[Boot]]


@pytest.fixture(scope="module")
def board(boots: Boots) -> Boot:
    """The devices of _BOARD, each with its own reason."""
    return boots[__name__, "6.1"].result()


@pytest.fixture(scope="module")
def behind(boots: Boots) -> Boot:
    """Devices behind an IOMMU whose driver must not be loaded."""
    return boots[__name__, "6.12"].result()


def device(booted: Boot, slot: str) -> dict[str, Any]:
    """The last device in the report."""
    found: list[dict[str, Any]]
    found = [d for d in booted.report()["devices"] if d["address"] == f"0000:00:{slot}"]
    return found[-1]


def findings(booted: Boot, slot: str, severity: str) -> list[str]:
    _, found = booted.check()
    return [
        finding["message"]
        for finding in found["findings"]
        if finding["subject"] == f"0000:00:{slot}" and finding["severity"] == severity
    ]


def test_states_are_those_of_sysfs(board: Boot) -> None:
    final = oracle.devices(board.sections["final"])
    for address, known in final.items():
        found = device(board, address[-4:])
        assert (found["driver"], found["name"]) == (known.driver, known.name)
        assert (found["state"] == "bound") == (known.driver is not None)


def test_validate_with_the_kernels_own_words(board: Boot) -> None:
    reason = device(board, "03.0")["reason"]
    said = "virtio_net virtio1: device advertises feature VIRTIO_NET_F_CTRL_RX but not "
    assert said in board.kernel_log  # the console's
    assert reason.startswith("virtnet_validate [virtio_net] returned -22 (EINVAL)")
    assert f'"{said}VIRTIO_NET_F_CTRL_VQ"' in reason
    assert findings(board, "03.0", "error") == [reason]


def test_features_refused(board: Boot) -> None:
    reason = device(board, "05.0")["reason"]
    assert reason.startswith(
        "virtio_features_ok [virtio] returned -19 (ENODEV): the device refused"
    )
    missing = reason.partition("offered, but not written: ")[2].partition(";")[0]
    assert "VIRTIO_F_ACCESS_PLATFORM" in missing.split(", ")
    (binding,) = (b for b in board.report()["bindings"] if b["device"] == "0000:00:05.0")
    assert [one["name"] for one in binding["features"]["missing"]] == ["VIRTIO_F_ACCESS_PLATFORM"]
    assert "device refuses features" in reason


def test_no_driver(board: Boot) -> None:
    assert device(board, "06.0")["reason"].startswith("no driver in this kernel for this device")
    assert findings(board, "06.0", "error") == []


def test_a_module_that_is_forbidden(board: Boot) -> None:
    assert "virtio_rng" not in board.sections["modules"]
    reason = device(board, "07.0")["reason"]
    assert "its module virtio_rng (alias virtio:d00000004v*) was not loaded: " in reason
    assert "module_blacklist=virtio_rng is on the kernel command line" in reason
    assert "Module virtio_rng is blacklisted" in board.kernel_log
    assert '"Module virtio_rng is blacklisted"' in reason
    assert findings(board, "07.0", "error") == [reason]


def test_an_init_that_fails(board: Boot) -> None:
    assert "virtio_scsi" not in board.sections["modules"]
    reason = device(board, "08.0")["reason"]
    assert "virtio_scsi was loaded, but its init failed: do_init_module returned -1" in reason
    assert reason.endswith("initcall_blacklist=virtio_scsi_init is on the kernel command line")
    _, found = board.check()
    assert not [f for f in found["findings"] if f["step"] == "recording"]  # nothing is missed


def test_a_probe_function_that_fails(board: Boot) -> None:
    """The innermost call is the driver's own: what it called succeeded."""
    reason = device(board, "0a.0")["reason"]
    assert device(board, "0a.0")["state"] == "failed"
    said = "virtio_blk: invalid block size: 0x10000"
    assert said in board.kernel_log
    assert reason.startswith("virtblk_probe [virtio_blk] returned -22 (EINVAL); the kernel's log:")
    assert said in reason
    assert findings(board, "0a.0", "error") == [reason]


def test_a_probe_function_that_fails_deep_inside(board: Boot) -> None:
    """Its interrupt is taken: it was bound before, and fails after."""
    took = next(line for line in board.sections["interrupts"] if line.endswith("ttyS3"))
    irq = took.split(":")[0].strip()
    found = device(board, "0c.0")
    assert found["state"] == "failed"
    assert found["reason"].startswith(
        "virtblk_probe [virtio_blk] returned -16 (EBUSY); innermost "
        "traced call: vp_find_vqs [virtio_pci]; the kernel's log"
    )
    said = f"genirq: Flags mismatch irq {irq}."
    assert said in board.kernel_log and said in found["reason"]
    assert findings(board, "0c.0", "error") == [found["reason"]]
    bindings = [b for b in board.report()["bindings"] if b["device"] == "0000:00:0c.0"]
    assert [(b["errno"], b["step"]) for b in bindings] == [(None, None), ("EBUSY", "driver-probed")]


def test_a_module_that_modprobes_configuration_forbids(board: Boot) -> None:
    """Written in the guest during the recording; then the device was plugged in."""
    assert "virtio_input" not in board.sections["modules"]
    found = device(board, "10.0")
    assert (found["state"], found["type"]) == ("unbound", "input")
    assert "its module virtio_input (alias virtio:d00000012v*) was not loaded: " in found["reason"]
    assert found["reason"].endswith(
        '"blacklist virtio_input" is in /etc/modprobe.d/no-input.conf since the recording began'
    )
    assert findings(board, "10.0", "error") == [found["reason"]]


def test_autoprobe_off(board: Boot) -> None:
    assert device(board, "02.0")["generation"] == 1
    reason = device(board, "02.0")["reason"]
    assert "/sys/bus/virtio/drivers_autoprobe was 0 at the end" in reason


@pytest.mark.parametrize(
    ("slot", "said"), [("04.0", "legacy interface was taken"), ("09.0", "no MSI-X: ")]
)
def test_what_is_bound_all_the_same_is_a_note(board: Boot, slot: str, said: str) -> None:
    assert device(board, slot)["state"] == "bound"
    assert findings(board, slot, "error") == []
    assert [message for message in findings(board, slot, "note") if said in message]


def test_deferred_devices_that_no_probe_was_called_for(behind: Boot) -> None:
    deferred = {line.split()[0] for line in behind.sections["deferred"] if line.strip()}
    drivers = dict(line.split() for line in behind.sections["drivers"])
    assert {"0000:00:02.0", "0000:00:03.0"} <= deferred
    for slot, kind in (("02.0", "net"), ("03.0", "rng")):
        found = device(behind, slot)
        assert drivers[f"0000:00:{slot}"] == "-"
        assert (found["state"], found["type"], found["name"]) == ("unbound", kind, None)
        assert "its probe was deferred" in found["reason"]
        behind_it = (
            "ACPI's VIOT puts it behind the VirtIO IOMMU at 0000:00:01.0, which has no driver"
        )
        assert behind_it in found["reason"]
        assert findings(behind, slot, "error") == [found["reason"]]


def test_a_module_that_modprobe_must_not_load(behind: Boot) -> None:
    reason = device(behind, "01.0")["reason"]
    assert "virtio_iommu (alias virtio:d00000017v*) was not loaded" in reason
    assert "modprobe.blacklist=virtio_iommu is on the kernel command line" in reason
