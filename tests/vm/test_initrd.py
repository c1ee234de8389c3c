# SPDX-License-Identifier: GPL-2.0-or-later
"""An initrd that lacks a driver: the report says so, and names the file that has it."""

from __future__ import annotations

import subprocess
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.vm import images
from tests.vm.guest import COMMAND, run_json
from virtio_trace.vm.disk import extract
from virtio_trace.vm.host.programs import quiet


@dataclass(frozen=True, slots=True)
class Ended:
    """How the boot ended."""

    status: int
    stderr: str
    recording: Path

    def finding(self) -> dict[str, Any]:
        """The only error that check has of the disk."""
        status, found = run_json("check", self.recording)
        assert (status, found["verdict"]) == (1, "DEVIATES")
        errors = [f for f in found["findings"] if f["severity"] == "error"]
        (error,) = (f for f in errors if f["subject"] == "0000:00:03.0")
        return dict(error)


def _boot(folder: Path) -> Ended:
    """Boots Debian 12's own kernel and initrd, except for one file of the latter."""
    folder.mkdir(parents=True)
    system = extract.extract_system(images.image("bookworm"), "", folder, quiet)
    root = folder / "root"
    root.mkdir()
    script = (
        f"zstd -dc {system.initrds[0]} | cpio -idm --quiet -D {root}; cd {root}"
        " && find . -name virtio_blk.ko -print -delete"
        " && find . | cpio -o -H newc -R 0:0 --quiet >../less"
    )
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.count("virtio_blk.ko") == 1
    assert system.modules is not None
    recording = folder / "less.vtr"
    command = [
        *(*COMMAND, "boot", "--kernel", str(system.vmlinuz), "--initrd", str(folder / "less")),
        *("--modules", str(system.modules), "--append", "root=/dev/vda1"),
        *("--until", "quiet:15", "--timeout", "600", "-q", "-o", str(recording)),
    ]
    boot = subprocess.run(command, capture_output=True, text=True, check=False)
    return Ended(boot.returncode, boot.stderr, recording)


BOOTS = {"initrd": _boot}


@pytest.fixture(scope="module")
def ended(boots: dict[tuple[str, str], Future[Ended]]) -> Ended:
    """One boot for all tests."""
    return boots[__name__, "initrd"].result()


def test_the_disk_has_no_driver_and_the_reason_is_the_initrd(ended: Ended) -> None:
    assert ended.status == 1, ended.stderr
    error = ended.finding()
    assert "its module virtio_blk (alias virtio:d00000002v*) was not loaded" in error["message"]
    file = "kernel/drivers/block/virtio_blk.ko"
    assert f"{file} is not in the initrd, and the system is still in the initrd" in error["message"]


def test_the_others_are_bound(ended: Ended) -> None:
    _status, report = run_json("report", ended.recording)
    states = {d["address"]: (d["type"], d["state"]) for d in report["devices"]}
    assert states["0000:00:02.0"] == ("net", "bound")
    assert states["0000:00:03.0"] == ("block", "unbound")
    assert (report["recording"]["lost"], report["recording"]["complete"]) == (0, True)
