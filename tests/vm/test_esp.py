# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that begin from an EFI system partition, booted unchanged: a unified kernel image, and an
entry of systemd-boot. Neither names its root file system."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from tests.vm import esp_image, foreign
from tests.vm.foreign import Case, Foreign


def _boot(image: str, folder: Path) -> Foreign:
    return foreign.boot(Case(image, until=foreign.END), folder)


BOOTS = {image: partial(_boot, image) for image in ("uki", "bls")}
BY = {
    "uki": "boots Debian, unified, by /EFI/Linux/debian-12+3-0.efi",
    "bls": "boots Debian, by an entry, by /loader/entries/debian-6.1.conf",
}


@pytest.fixture(scope="module", params=list(BOOTS))
def up(request: pytest.FixtureRequest, boots: dict[tuple[str, str], Future[Foreign]]) -> Foreign:
    """One boot of each image for all tests."""
    found = boots[__name__, request.param].result()
    assert "end" in found.sections, f"{found.stderr}\n{found.console[-3000:]}"
    return found


def test_it_boots_what_the_partition_names_and_is_not_written(up: Foreign) -> None:
    assert BY[up.kernel] in up.stderr
    assert f"root=PARTUUID={esp_image.UUID} is added" in up.stderr
    assert any(" / / " in line and "/dev/vda2" in line for line in up.sections["mounts"])
    before, after = up.checksums
    assert before == after


def test_it_conforms_and_its_devices_are_those_of_sysfs(up: Foreign) -> None:
    assert foreign.wrong_verdict(up, "CONFORMS") == []
    assert len(up.final) == 3
    assert foreign.wrong_devices(up) == []


def test_modules_are_the_root_file_systems_own(up: Foreign) -> None:
    evidence = up.lines()[0]["evidence"]
    assert {"virtio_balloon", "virtio_blk", "virtio_net"} <= {
        driver["module"] for driver in evidence["drivers"]
    }
