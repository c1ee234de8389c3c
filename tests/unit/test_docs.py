# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents that follow from the code are held to it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from virtio_trace import errors
from virtio_trace.check import linux_steps, spec_steps, verdict
from virtio_trace.cli.main import COMMANDS
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render import json as render
from virtio_trace.report import summary

TOP = Path(__file__).resolve().parents[2]


def test_the_command_reference_is_what_help_says() -> None:
    made = subprocess.run(
        [sys.executable, TOP / "tools" / "commands.py"], check=True, capture_output=True, text=True
    )
    written = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == made.stdout, "run tools/commands.py > docs/commands.md"


def test_every_command_is_in_the_reference() -> None:
    text = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## virtio-trace (\w+)$", text, re.MULTILINE))
    assert sections == set(COMMANDS)


def test_every_exit_status_is_in_the_reference() -> None:
    text = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = {int(status) for status in re.findall(r"^\| (\d) \|", text, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert listed == {0} | {kind.status for kind in kinds if hasattr(kind, "status")}


def test_every_step_is_in_the_procedure() -> None:
    text = (TOP / "docs" / "procedure.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| ", text, re.MULTILINE)
    every = (*linux_steps.STEPS, *linux_steps.HOST_STEPS, *spec_steps.STEPS)
    assert rows == [step.id for step in every]


def test_the_formats_are_what_is_printed() -> None:
    text = (TOP / "docs" / "formats.md").read_text(encoding="utf-8")
    told = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    reports, checks, events, hosts = [], [], [], []
    for path in (TOP / "tests" / "golden").glob("*.vtr"):
        with path.open("rb") as lines:
            read = reader.read(lines, path.name)
        found = builder.build(read)
        checks.append(io.StringIO())
        render.check(verdict.check(found), checks[-1])
        reports.append(summary.summarize(found))
        events += [event.to_json() for event in read.events]
        if read.trailer is not None and read.trailer.host is not None:
            hosts.append(read.trailer.host.to_json())
    assert _members(told[0]) == _members(*reports)
    assert _members(told[1]) == _members(*(json.loads(out.getvalue()) for out in checks))
    assert _members(told[2]) == _members(*events)
    assert _members(told[3]) == _members(*hosts)


def _members(*things: Any, name: str = "") -> set[str]:
    """The names of all members, with those of what they are in before them."""
    found = set()
    for thing in things:
        if isinstance(thing, dict):
            for key, value in thing.items():
                found |= {f"{name}.{key}"} | _members(value, name=f"{name}.{key}")
        elif isinstance(thing, list):
            found |= _members(*thing, name=name)
    return found


def test_links_lead_somewhere() -> None:
    for page in [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
