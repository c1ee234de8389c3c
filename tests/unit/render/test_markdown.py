# SPDX-License-Identifier: GPL-2.0-or-later
"""Markdown, read by markdown-it with GitHub's tables, strike-through and links."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.unit.render.results import ABOUT, HOSTILE, NAMES, hostile, result, written
from virtio_trace.check.findings import WARNING, Finding, Result, StepResult
from virtio_trace.render.escape import escape
from virtio_trace.render.markdown import markdown
from virtio_trace.report.cases import verdict_line

_MOST = 1 << 20
"""Bytes that GitHub takes of a summary."""


def _tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def _plain(token: Token) -> str:
    """The text of an inline TOKEN; it must not have markup."""
    kinds = {child.type for child in token.children or []}
    assert kinds <= {"text", "text_special"}, kinds
    return "".join(child.content for child in token.children or [])


def _rows(text: str) -> list[list[str]]:
    """The rows of all tables."""
    rows: list[list[str]] = []
    tokens = _tokens(text)
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append(_plain(tokens[at + 1]))
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_each_golden_recording_has_its_verdict_findings_and_steps(name: str) -> None:
    found, about = result(name)
    text = written(markdown, found, about=about)
    tokens = _tokens(text)
    assert tokens[0].type == "heading_open"
    assert verdict_line(found) in _plain(tokens[1])
    rows = _rows(text)
    shown = {row[1] for row in rows if len(row) == 3}
    for finding in found.findings:
        assert finding.before or finding.message in shown
    subjects = {step.subject for step in found.steps}
    assert {row[0] for row in rows if len(row) == 5} == (
        subjects | {"subject"} if subjects else set()
    )


def test_hostile_text_is_text() -> None:
    text = written(markdown, hostile(), about=ABOUT)
    rows = _rows(text)
    mention = escape(HOSTILE).replace("@", "@\u200b")
    assert {len(row) for row in rows} == {3, 5}
    assert ["error", mention, f"{mention}: driver-probed"] in rows
    allowed = {"<details><summary>Steps of each device and driver</summary>\n", "</details>\n"}
    assert {token.content for token in _tokens(text) if token.type == "html_block"} == allowed


def test_a_summary_fits_however_many_findings_there_are() -> None:
    steps = [StepResult("step", f"device{n}", False) for n in range(5000)]
    found = [Finding(WARNING, "step", f"device{n}", f"{n}{'|' * 5000}") for n in range(5000)]
    text = written(markdown, Result("DEVIATES", steps=steps, findings=found), about=ABOUT)
    assert len(text.encode()) < _MOST
    assert text.count("4700 more are not shown.") == 2
