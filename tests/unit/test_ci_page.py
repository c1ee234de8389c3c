# SPDX-License-Identifier: GPL-2.0-or-later
"""What docs/ci.md tells a reader to copy."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from tests import action
from tests.unit.render.results import NAMES, result, written
from virtio_trace.cli.boot.artifacts import FILES
from virtio_trace.cli.main import cli
from virtio_trace.cli.support import formats
from virtio_trace.render.ktap import ktap

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ci.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_the_script_for_lava_reports_every_step(name: str, tmp_path: Path) -> None:
    """A program of the name lava-test-case prints what it is called with."""
    (script,) = _blocks("sh")
    (tmp_path / "ktap-to-lava").write_text(script)
    (tmp_path / "lava-test-case").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "lava-test-case").chmod(0o755)
    found, about = result(name)
    (tmp_path / "ktap").write_text(written(ktap, found, about=about), "utf-8")
    done = subprocess.run(
        ["sh", tmp_path / "ktap-to-lava", tmp_path / "ktap"], capture_output=True, text=True,
        check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    told = dict(line.split(" --result ") for line in done.stdout.splitlines())
    steps: dict[str, set[bool | None]] = {}
    for step in found.steps:
        name_ = f"{step.subject.replace(':', '-')}.{step.id}"
        steps.setdefault(name_, set()).add(None if step.before else step.ok)
    assert told.keys() == steps.keys()
    for step_name, outcomes in steps.items():
        expected = "fail" if False in outcomes else "skip" if None in outcomes else "pass"
        assert told[step_name] == expected or outcomes == {None, True}


def test_yaml_is_yaml_and_names_inputs_that_exist() -> None:
    jobs = [yaml.safe_load(block) for block in _blocks("yaml")]
    github, gitlab, lava = jobs
    used = [step["with"] for step in github["jobs"]["virtio"]["steps"] if "with" in step]
    assert [set(given) - action.load()["inputs"].keys() for given in used] == [set()]
    assert gitlab["virtio"]["artifacts"]["reports"]["junit"] == "out/junit.xml"
    assert lava["metadata"]["format"] == "Lava-Test Test Definition 1.0"


def test_commands_have_the_options_that_are_shown() -> None:
    lines = re.findall(r"virtio-trace (boot|check|report|record|cmdline) ([^\n|&]*)", PAGE)
    assert len(lines) > 8
    for name, rest in lines:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        shown = set(re.findall(r"(?<![\w-])(--[a-z-]+|-[a-z])(?![\w-])", rest.split(" -- ")[0]))
        assert shown <= known, (name, shown - known)


def test_formats_and_files_are_in_their_tables() -> None:
    assert set(formats.names("check")) - {"text", "json"} == set(
        re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    ) & {"junit", "ktap", "markdown", "github", "kcidb"}
    section = PAGE.split("## What a boot leaves")[1].split("\n## ")[0]
    rows = " ".join(line for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w.]+)`", rows)) == set(FILES)
