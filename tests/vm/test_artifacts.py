# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot --artifacts leaves of a boot that went well, through the GitHub Action, and of one that
did not."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import junitparser
import pytest

from tests import action
from tests.vm.guest import COMMAND, KERNELS
from virtio_trace.cli.boot.artifacts import FILES

_DEVICES = "-device 'virtio-rng-pci,addr=05.0'"


def _action(folder: Path) -> tuple[action.Job, Path]:
    done = action.run(folder, boot=f"--debian {KERNELS['6.1']}\n-- {_DEVICES}", upload="kept")
    return done, folder / "workspace" / "virtio-trace-artifacts"


def _timeout(folder: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A boot that ends before its first event, into a folder with older files."""
    folder.mkdir(parents=True)
    for name in ("verdict.txt", "report.html", "not-ours"):
        (folder / name).write_text("CONFORMS")
    command = [*COMMAND, "boot", "-q", "--debian", KERNELS["6.1"], "--timeout", "2"]
    done = subprocess.run(
        [*command, "--artifacts", folder], capture_output=True, text=True, check=False
    )
    return done, folder


BOOTS = {"action": _action, "timeout": _timeout}


@pytest.fixture(scope="module")
def job(boots: dict[tuple[str, str], Future[Any]]) -> tuple[action.Job, Path]:
    found: tuple[action.Job, Path] = boots[__name__, "action"].result()
    return found


@pytest.fixture(scope="module")
def failed(
    boots: dict[tuple[str, str], Future[Any]],
) -> tuple[subprocess.CompletedProcess[str], Path]:
    found: tuple[subprocess.CompletedProcess[str], Path] = boots[__name__, "timeout"].result()
    return found


def test_the_action_boots_and_passes(job: tuple[action.Job, Path]) -> None:
    done, _ = job
    assert not done.failed, done.printed
    assert done.outputs == {"status": "0", "verdict": "CONFORMS"}
    assert "VirtIO: CONFORMS" in done.summary
    assert done.printed["Report"].startswith("::notice title=VirtIO verdict::CONFORMS")


def test_the_folder_has_everything(job: tuple[action.Job, Path]) -> None:
    _, folder = job
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert all(path.stat().st_size for path in folder.iterdir())
    devices = json.loads((folder / "report.json").read_text("utf-8"))["devices"]
    assert [device["address"] for device in devices] == ["0000:00:05.0"]
    assert json.loads((folder / "check.json").read_text("utf-8"))["verdict"] == "CONFORMS"
    assert "Linux version" in (folder / "console.txt").read_text("utf-8", "replace")
    (suite,) = junitparser.JUnitXml.fromfile(str(folder / "junit.xml"))
    assert suite.tests > 5 and not suite.failures and not suite.errors


def test_a_boot_that_failed_says_why(
    failed: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, folder = failed
    assert done.returncode == 4, done.stderr
    names = {path.name for path in folder.iterdir()}
    assert names == {"junit.xml", "verdict.txt", "console.txt", "outcome.json", "not-ours"}
    assert (folder / "verdict.txt").read_text("utf-8").startswith("INCOMPLETE: the guest had not")
    ((case,),) = junitparser.JUnitXml.fromfile(str(folder / "junit.xml"))
    assert isinstance(case.result[0], junitparser.Error)
    assert case.result[0].message in done.stderr


def test_artifacts_have_their_own_names(tmp_path: Path) -> None:
    command = [*COMMAND, "boot", "--debian", KERNELS["6.1"], "--artifacts", str(tmp_path / "a")]
    done = subprocess.run([*command, "-o", "x.vtr"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--artifacts" in done.stderr
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    command = [*COMMAND, "boot", "--debian", KERNELS["6.1"], "--artifacts", str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"--artifacts {tmp_path}/a: " in done.stderr
