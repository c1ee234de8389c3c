# SPDX-License-Identifier: GPL-2.0-or-later
"""A third party's image, booted unchanged: Debian 12, GRUB's configuration, udev, DHCP.

``make matrix`` has more: other kernels, initrds and disks (imaged.py).
"""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.vm import foreign, oracle
from tests.vm.foreign import Case, Foreign


def _boot(folder: Path) -> Foreign:
    """Boots until the last line of the image's own service."""
    return foreign.boot(Case("bookworm", until=foreign.END), folder)


BOOTS = {"image": _boot}


@pytest.fixture(scope="module")
def up(boots: dict[tuple[str, str], Future[Foreign]]) -> Foreign:
    """One boot for all tests."""
    found = boots[__name__, "image"].result()
    assert "end" in found.sections, f"{found.stderr}\n{found.console[-3000:]}"
    return found


def test_the_image_is_not_written(up: Foreign) -> None:
    before, after = up.checksums
    assert before == after


def test_it_conforms_and_nothing_was_lost(up: Foreign) -> None:
    assert foreign.wrong_verdict(up, "CONFORMS") == []
    assert up.status == 0
    assert "enough after" in up.stderr
    assert "boots Debian GNU/Linux, by /boot/grub/grub.cfg" in up.stderr


def test_devices_are_what_sysfs_shows_inside(up: Foreign) -> None:
    assert len(up.final) == 3
    assert foreign.wrong_devices(up) == []


def test_bindings_are_those_of_initcall_debug(up: Foreign) -> None:
    theirs = oracle.virtio_probes(up.kernel_log)
    ours = up.report()["bindings"]
    # In the order of their ends, as in the kernel's log: udev has several workers.
    by_end = sorted(ours, key=lambda b: b["started_ns"] + b["duration_ns"])
    assert [(b["name"], b["result"]) for b in by_end] == [(p.device, -p.result) for p in theirs]


def test_the_root_disks_own_probe_was_seen_from_the_initrd_on(up: Foreign) -> None:
    (root,) = (b for b in up.report()["bindings"] if b["device"] == "0000:00:03.0")
    assert (root["driver"], root["symbol"]) == ("virtio_blk", "virtblk_probe [virtio_blk]")
    assert any(" / / " in line and "/dev/vda1" in line for line in up.sections["mounts"])
    header, trailer = up.lines()[0], up.lines()[-1]
    assert {"virtio_blk", "virtio_net", "virtio_pci"} <= set(header["initrd"]["modules"])
    assert trailer["final"]["initrd_left"] is True


def test_qemu_agrees(up: Foreign) -> None:
    host = [step for step in up.check()[1]["steps"] if step["id"].startswith("host")]
    assert len(host) >= 3
    assert all(step["ok"] is True for step in host)


def test_the_network_is_up_by_dhcp(up: Foreign) -> None:
    assert any("10.0.2.15/" in line for line in up.sections["net"])


def test_the_system_sees_nothing_of_the_recorder_but_its_processes(up: Foreign) -> None:
    """They survive run-init, and have names that systemd does not kill when it leaves an initrd."""
    assert not any("virtio-trace" in line for line in up.sections["mounts"])
    environment = "\n".join(up.sections["environment"])
    names = set(re.findall(r"^(\w+)=", environment, re.M))
    assert "HOME" in names
    assert names <= {"HOME", "TERM", "PATH", "PWD", "init", "rootmnt", "drop_caps"}
    said = [line.partition(":")[2] for line in up.sections["processes"]]
    ours = [command for command in said if "virtio" in command]
    assert ours
    assert all(name.startswith("@") for name in ours), up.sections["processes"]


def test_modules_are_the_images_own(up: Foreign) -> None:
    """Evidence of every virtio driver in its /lib/modules, loaded or not, in the initrd or not."""
    header = json.loads(up.recording.read_text("ascii").splitlines()[0])
    drivers = {driver["module"]: driver for driver in header["evidence"]["drivers"]}
    assert {"virtio_balloon", "virtio_blk", "virtio_net"} <= drivers.keys()
    assert drivers["virtio_blk"]["functions"]["probe"] == "virtblk_probe"
