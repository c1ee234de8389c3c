# SPDX-License-Identifier: GPL-2.0-or-later
"""An image that somebody else made, booted as it is: Debian 12, GRUB's configuration, udev, DHCP.

``make matrix`` has more of them: other kernels, initrds and disks (imaged.py).
"""

from __future__ import annotations

import json

import pytest

from tests.vm import foreign, oracle
from tests.vm.foreign import Case, Foreign


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    """One boot for all tests, to the last word of the image's own service."""
    found = foreign.boot(Case("bookworm", until=foreign.END), tmp_path_factory.mktemp("image"))
    assert "end" in found.sections, f"{found.stderr}\n{found.console[-3000:]}"
    return found


def test_the_image_is_not_written(booted: Foreign) -> None:
    before, after = booted.checksums
    assert before == after


def test_it_conforms_and_nothing_was_lost(booted: Foreign) -> None:
    assert foreign.wrong_verdict(booted, "CONFORMS") == []
    assert booted.status == 0
    assert "enough after" in booted.stderr
    assert "GRUB" not in booted.stderr
    assert "/boot/grub/grub.cfg: Debian GNU/Linux" in booted.stderr


def test_devices_are_what_sysfs_shows_inside(booted: Foreign) -> None:
    assert len(booted.final) == 3
    assert foreign.wrong_devices(booted) == []


def test_bindings_are_those_of_initcall_debug(booted: Foreign) -> None:
    theirs = oracle.virtio_probes(booted.kernel_log)
    ours = booted.report()["bindings"]
    # In the order of their ends, as the kernel says them: udev has several workers.
    by_end = sorted(ours, key=lambda b: b["started_ns"] + b["duration_ns"])
    assert [(b["name"], b["result"]) for b in by_end] == [(p.device, -p.result) for p in theirs]


def test_the_root_disks_own_probe_was_seen_from_the_initrd_on(booted: Foreign) -> None:
    (root,) = (b for b in booted.report()["bindings"] if b["device"] == "0000:00:03.0")
    assert (root["driver"], root["symbol"]) == ("virtio_blk", "virtblk_probe [virtio_blk]")
    assert any(" / / " in line and "/dev/vda1" in line for line in booted.sections["mounts"])
    header, trailer = booted.lines()[0], booted.lines()[-1]
    assert {"virtio_blk", "virtio_net", "virtio_pci"} <= set(header["initrd"]["modules"])
    assert trailer["final"]["initrd_left"] is True


def test_qemu_agrees(booted: Foreign) -> None:
    host = [step for step in booted.check()[1]["steps"] if step["id"].startswith("host")]
    assert len(host) >= 3
    assert all(step["ok"] is True for step in host)


def test_the_network_is_up_by_dhcp(booted: Foreign) -> None:
    assert any("10.0.2.15/" in line for line in booted.sections["net"])


def test_the_system_sees_nothing_of_the_recorder_but_its_processes(booted: Foreign) -> None:
    """They live through run-init, with names that systemd spares in an initrd too."""
    assert not any("virtio-trace" in line for line in booted.sections["mounts"])
    names = {line.partition("=")[0] for line in booted.sections["environment"] if line}
    assert names <= {"HOME", "TERM", "init", "rootmnt", "drop_caps", "NETWORK_SKIP_ENSLAVED"}
    ours = [line.split()[1] for line in booted.sections["processes"] if "virtio" in line]
    assert ours
    assert all(name.startswith("@") for name in ours), booted.sections["processes"]


def test_modules_are_the_images_own(booted: Foreign) -> None:
    """Evidence of every virtio driver in its /lib/modules, loaded or not, in the initrd or not."""
    header = json.loads(booted.recording.read_text("ascii").splitlines()[0])
    drivers = {driver["module"]: driver for driver in header["evidence"]["drivers"]}
    assert {"virtio_balloon", "virtio_blk", "virtio_net"} <= drivers.keys()
    assert drivers["virtio_blk"]["functions"]["probe"] == "virtblk_probe"
