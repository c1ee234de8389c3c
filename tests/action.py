# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the steps of action.yml as GitHub's runner does, as far as that goes on this machine.

A step with ``run`` is run by bash with the runner's options and files. One that uses another action
is only looked at. Of expressions, those that action.yml has are known, and no others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Job:
    """A job of this action alone. ``failed``: the name of the step that failed, if any."""

    failed: str = ""
    printed: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    used: list[dict[str, Any]] = field(default_factory=list)


def load() -> dict[str, Any]:
    """action.yml."""
    found: dict[str, Any] = yaml.safe_load((TOP / "action.yml").read_text("utf-8"))
    return found


def run(folder: Path, **inputs: str) -> Job:
    """The job, whose workspace and temporary files are in FOLDER, which is made."""
    action, job = load(), Job()
    # A copy: building a wheel leaves a folder behind, and would use an old one.
    aside = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*.vtr")
    shutil.copytree(TOP, folder / "action", ignore=aside)
    unknown = inputs.keys() - action["inputs"].keys()
    assert not unknown, unknown
    known = {
        f"inputs.{name}": inputs.get(name, declared["default"])
        for name, declared in action["inputs"].items()
    } | {"github.action_path": str(folder / "action"), "runner.temp": str(folder / "temp")}
    workspace = folder / "workspace"
    for made in (workspace, folder / "temp"):
        made.mkdir(parents=True)
    for number, step in enumerate(action["runs"]["steps"]):
        if job.failed and not str(step.get("if", "")).startswith("always()"):
            continue
        if "uses" in step:
            job.used.append({name: _fill(str(v), known) for name, v in step["with"].items()})
            continue
        assert step["shell"] == "bash"
        _run(step, number, folder, known, job)
    job.outputs = {
        name: _fill(declared["value"], known) for name, declared in action["outputs"].items()
    }
    return job


def _run(step: dict[str, Any], number: int, folder: Path, known: dict[str, str], job: Job) -> None:
    script = folder / "temp" / f"{number}.sh"
    script.write_text(step["run"], "utf-8")
    files = {
        name: folder / "temp" / f"{number}.{name}"
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
    }
    for path in files.values():
        path.touch()
    environment = {
        **os.environ,
        **{name: str(path) for name, path in files.items()},
        **{name: _fill(value, known) for name, value in step.get("env", {}).items()},
    }
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=folder / "workspace", env=environment, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    job.printed[step["name"]] = done.stdout
    if done.returncode and not job.failed:
        job.failed = step["name"]
    for line in files["GITHUB_OUTPUT"].read_text("utf-8").splitlines():
        name, _, value = line.partition("=")
        known[f"steps.{step['id']}.outputs.{name}"] = value
    job.summary += files["GITHUB_STEP_SUMMARY"].read_text("utf-8")


def _fill(text: str, known: dict[str, str]) -> str:
    """TEXT with the values of its expressions. A step that did not run has no outputs."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return known.get(name, "") if name.startswith("steps.") else known[name]

    return re.sub(r"\$\{\{ ([a-z_.]+) \}\}", value, text)
