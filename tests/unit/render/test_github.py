# SPDX-License-Identifier: GPL-2.0-or-later
"""GitHub's annotations, parsed as its runner does (actions/runner, ActionCommand.cs)."""

from __future__ import annotations

import re

import pytest

from tests.unit.render.results import HOSTILE, NAMES, hostile, result, written
from virtio_trace.check.findings import ERROR, WARNING, Finding, Result, StepResult
from virtio_trace.render.escape import escape
from virtio_trace.render.github import MOST, github
from virtio_trace.report.cases import verdict_line


def _commands(text: str) -> list[tuple[str, str]]:
    """The name and the message of each line."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"::(\w+) title=[\w ]+::(.*)", line)
        assert match, line
        data = match[2].replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
        found.append((match[1], data))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_there_are_at_most_ten(name: str) -> None:
    found, _ = result(name)
    commands = _commands(written(github, found))
    assert 1 <= len(commands) <= MOST
    assert commands[-1][0] == "notice"
    assert commands[-1][1].startswith(verdict_line(found))
    for severity in (ERROR, WARNING):
        some = any(f.severity == severity and not f.before for f in found.findings)
        assert some == any(command == severity for command, _ in commands)


def test_errors_come_first_and_the_rest_is_counted() -> None:
    warnings = [Finding(WARNING, "s", "d", f"warning {n}") for n in range(30)]
    errors = [Finding(ERROR, "s", "d", f"error {n}") for n in range(5)]
    steps = [StepResult("s", "d", False)]
    commands = _commands(
        written(github, Result("DEVIATES", steps=steps, findings=warnings + errors))
    )
    assert [name for name, _ in commands] == ["error"] * 5 + ["warning"] * 4 + ["notice"]
    assert commands[-1][1].endswith("; 26 more not shown here")


def test_one_message_about_many_devices_is_one_annotation() -> None:
    same = [Finding(ERROR, "step", f"device{n}", "the same") for n in range(25)]
    (error, notice) = _commands(written(github, Result("DEVIATES", findings=same)))
    assert error[1].startswith("the same [device0: step, device1: step, ")
    assert error[1].endswith("device19: step and 5 more]")
    assert "25 errors" in notice[1]


def test_hostile_text_is_no_command() -> None:
    commands = _commands(written(github, hostile()))
    assert [name for name, _ in commands] == ["error", *["warning"] * 3, "notice"]
    assert commands[0][1].startswith(escape(HOSTILE))
