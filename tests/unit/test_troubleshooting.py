# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/troubleshooting.md lists the messages that the code has, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit import messages

TOP = Path(__file__).resolve().parents[2]
CODE = TOP / "virtio_trace"
_LEAST = 4
"""Letters. A row with fewer could stand for any message."""


def listed() -> list[list[str]]:
    """The rows of the page's tables, without their headings: message, cause, next step."""
    text = (TOP / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (.*?) ?\| (.*?) ?\|$", text, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", text, re.MULTILINE))
    return [[*row] for row in rows]


def test_every_message_on_the_page_is_in_the_code() -> None:
    known = messages.of_all(CODE)
    gone = [row[0] for row in listed() if not any(messages.matches(row[0], one) for one in known)]
    assert gone == []


def test_every_message_in_the_code_is_on_the_page() -> None:
    rows = [row[0] for row in listed()]
    missing = [
        f"{where}: {template.replace(messages.HOLE, '…')}"
        for where, template in messages.of_errors(CODE)
        if not any(messages.matches(row, template) for row in rows)
    ]
    assert missing == []


def test_every_message_has_a_next_step_and_is_there_once() -> None:
    rows = listed()
    assert [row[0] for row in rows if not row[2].strip()] == []
    assert [row[0] for row in rows if len(re.findall("[A-Za-z]", row[0])) < _LEAST] == []
    names = [row[0] for row in rows]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("file", ["README.md", "docs/install.md"])
def test_it_is_linked(file: str) -> None:
    assert "troubleshooting.md" in (TOP / file).read_text(encoding="utf-8")
