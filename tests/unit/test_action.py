# SPDX-License-Identifier: GPL-2.0-or-later
"""The GitHub Action with a recording; tests/vm/test_artifacts.py has it boot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import junitparser
import pytest

from tests import action
from tests.unit.surgery import GOLDEN


@pytest.fixture(scope="module")
def job(
    fetch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[action.Job, Path]:
    """The action on a recording with failures. pip downloads setuptools to install it."""
    folder = tmp_path_factory.mktemp("action") / "job"
    recording = str(GOLDEN / "debian-6.1-failures.vtr")
    return action.run(
        folder, recording=recording, artifacts="out dir"
    ), folder / "workspace/out dir"


def test_the_verdict_fails_the_job_at_its_end(job: tuple[action.Job, Path]) -> None:
    done, _ = job
    assert done.failed == "Verdict", done.printed
    assert done.outputs == {"status": "1", "verdict": "DEVIATES"}


def test_the_report_has_annotations_and_a_summary(job: tuple[action.Job, Path]) -> None:
    done, _ = job
    lines = done.printed["Report"].splitlines()
    assert lines[0].startswith("::error title=VirtIO::virtnet_validate")
    assert lines[-1].startswith("::notice title=VirtIO verdict::DEVIATES")
    assert "VirtIO: DEVIATES" in done.summary


def test_the_folder_is_uploaded(job: tuple[action.Job, Path]) -> None:
    done, folder = job
    assert done.used == [{"name": "virtio-trace", "path": "out dir"}]
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "recording.vtr", "report.html", "check.json", "summary.md", "junit.xml", "verdict.txt",
    }  # fmt: skip
    (suite,) = junitparser.JUnitXml.fromfile(str(folder / "junit.xml"))
    assert suite.failures


def test_no_input_is_part_of_a_script() -> None:
    """An expression in a script would be run by the shell."""
    for step in action.load()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_what_a_guest_prints_is_no_command(job: tuple[action.Job, Path]) -> None:
    """Commands are stopped while virtio-trace runs."""
    done, _ = job
    first, *_, last = done.printed["Boot and check"].splitlines()
    token = re.fullmatch(r"::stop-commands::([0-9a-f-]{36})", first)
    assert token and last == f"::{token[1]}::"
