# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents that follow from the code are held to it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from virtio_trace import errors, procedure
from virtio_trace.cli.main import COMMANDS

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
    assert rows == list(procedure.BY_ID)


def test_links_lead_somewhere() -> None:
    for page in [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
