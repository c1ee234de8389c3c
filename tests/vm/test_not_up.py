# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots that do not come up: boot names the cause, and check blames no device for it."""

from __future__ import annotations

import subprocess
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from tests.vm import foreign
from tests.vm.foreign import Case, Foreign
from tests.vm.guest import COMMAND, KERNELS

_UUID = "00000000-1111-2222-3333-444444444444"

_Done = subprocess.CompletedProcess[str]


def _image(append: str, until: str | None, folder: Path) -> Foreign:
    return foreign.boot(Case("bookworm", append, until), folder)


def _locked(collector: str, folder: Path) -> _Done:
    folder.mkdir(parents=True)
    command = [
        *(*COMMAND, "boot", "--debian", KERNELS["6.1"], "--collector", collector, "-q"),
        *("--append", "lockdown=confidentiality", "--timeout", "600"),
        *("-o", str(folder / "locked.vtr")),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


BOOTS = {
    "wrong root": partial(_image, f"root=UUID={_UUID}", None),
    "emergency": partial(_image, "systemd.unit=emergency.target", "text:never"),
    "locked bpf": partial(_locked, "bpf"),
    "locked ftrace": partial(_locked, "ftrace"),
}


@pytest.fixture(scope="module")
def wrong(boots: dict[tuple[str, str], Future[Foreign]]) -> Foreign:
    return boots[__name__, "wrong root"].result()


@pytest.fixture(scope="module")
def emergency(boots: dict[tuple[str, str], Future[Foreign]]) -> Foreign:
    return boots[__name__, "emergency"].result()


def shown(stderr: str) -> list[str]:
    """The lines of the console that it showed."""
    return [line.removeprefix("  | ") for line in stderr.splitlines() if line.startswith("  | ")]


def test_a_root_that_does_not_exist_is_named(wrong: Foreign) -> None:
    assert wrong.status == 4, wrong.stderr
    assert f"the initrd waited for UUID={_UUID}, which does not exist" in wrong.stderr
    assert "the initrd's shell waits on the console" in wrong.stderr
    assert shown(wrong.stderr)[-1].startswith("(initramfs)")
    assert len(shown(wrong.stderr)) <= 10


def test_no_device_is_blamed_for_it(wrong: Foreign) -> None:
    """The driver of the random number generator is only on the root disk."""
    status, found = wrong.check()
    assert (status, found["verdict"]) == (4, "INCOMPLETE")
    assert {f["severity"] for f in found["findings"]} <= {"warning", "note"}
    (rng,) = (f for f in found["findings"] if f["subject"] == "0000:00:04.0")
    assert rng["message"].endswith("; the root file system was not reached")


def test_a_maintenance_shell_is_no_success(emergency: Foreign) -> None:
    """It ends long before --timeout, although the text is never printed."""
    assert emergency.status == 4, emergency.stderr
    assert 'the console did not print "never" after' in emergency.stderr
    assert "a maintenance shell waits on the console" in emergency.stderr
    assert any("You are in emergency mode" in line for line in shown(emergency.stderr))


@pytest.mark.parametrize("collector", ["bpf", "ftrace"])
def test_lockdown_is_the_reason(
    collector: str, boots: dict[tuple[str, str], Future[_Done]]
) -> None:
    done = boots[__name__, f"locked {collector}"].result()
    assert done.returncode == 3, done.stderr
    assert "the kernel is locked down (confidentiality)" in done.stderr
    assert "boot without lockdown=confidentiality" in done.stderr
    assert "not mounted" not in done.stderr
