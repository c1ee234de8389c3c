# SPDX-License-Identifier: GPL-2.0-or-later
"""KCIDB submissions, validated by kcidb-io."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kcidb_io.schema import LATEST

from tests.unit.render.results import ABOUT, NAMES, hostile, incomplete, result, written
from tests.unit.surgery import GOLDEN
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, Result, StepResult
from virtio_trace.errors import UsageError
from virtio_trace.render.kcidb import kcidb


def _made(found: Result, about: Any = ABOUT, origin: str = "ours", build: str | None = None) -> Any:
    made = json.loads(written(kcidb, found, about=about, origin=origin, build=build))
    assert LATEST.is_valid_exactly(made)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_golden_recordings_are_valid(name: str) -> None:
    found, about = result(name)
    made = _made(found, about)
    tests = made["tests"]
    assert len({test["id"] for test in tests}) == len(tests)
    assert all(re.fullmatch(r"virtio_trace(\.[a-zA-Z0-9_-]+)+", test["path"]) for test in tests)
    expected = {CONFORMS: "PASS", DEVIATES: "FAIL", INCOMPLETE: "ERROR"}
    assert tests[-1]["path"] == "virtio_trace.verdict"
    assert tests[-1]["status"] == expected[found.verdict]
    assert {made["builds"][0]["id"]} == {test["build_id"] for test in tests}
    assert made == _made(found, about)


def test_an_address_has_the_characters_of_a_path() -> None:
    paths = [test["path"] for test in _made(incomplete())["tests"]]
    assert paths[0] == "virtio_trace.0000_00_02_0.driver-probed"


def test_two_subjects_never_have_the_same_path() -> None:
    steps = [StepResult("step", subject, True) for subject in ("a.b", "a:b", "a", "a\ud800b")]
    paths = [test["path"] for test in _made(Result(steps=steps))["tests"]]
    assert len(set(paths)) == len(paths)
    assert paths[2] == "virtio_trace.a.step"


def test_a_build_that_kcidb_has_is_only_referred_to() -> None:
    made = _made(incomplete(), build="maestro:1a2b")
    assert made.keys() == {"version", "tests"}
    assert {test["build_id"] for test in made["tests"]} == {"maestro:1a2b"}


def test_hostile_text_is_valid() -> None:
    made = _made(hostile())
    assert {test["status"] for test in made["tests"]} == {"FAIL", "MISS", "SKIP", "ERROR"}


@pytest.mark.parametrize(("origin", "build"), [("Upper", None), ("", None), ("ours", "no-colon")])
def test_invalid_names_are_refused(origin: str, build: str | None) -> None:
    with pytest.raises(UsageError):
        written(kcidb, incomplete(), about=ABOUT, origin=origin, build=build)


def test_without_its_package_the_extra_is_named(tmp_path: Path) -> None:
    """Status 3, as where a program is missing, before the output is opened."""
    out = tmp_path / "out"
    code = (
        "import sys; sys.modules['kcidb_io'] = None; from virtio_trace.cli.main import run;"
        "sys.exit(run(sys.argv[1:]))"
    )
    arguments = ["--format", "kcidb", "-o", str(out), str(GOLDEN / "debian-6.1.vtr")]
    done = subprocess.run(
        [sys.executable, "-c", code, "check", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert not out.exists()
    assert ".[ci]" in done.stderr
