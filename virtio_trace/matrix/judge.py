# SPDX-License-Identifier: GPL-2.0-or-later
"""How a case turned out, against what was expected of it."""

from __future__ import annotations

from typing import Any

from virtio_trace.matrix.case import ERROR, FAILED, OK, Attempt
from virtio_trace.matrix.settings import Expectation

INCOMPLETE = "INCOMPLETE"

_CANNOT = (2, 3, 5)
"""boot's exit statuses when nothing can be told: invalid usage, this machine, bad input."""
_MOST = 5


def judge(
    expect: Expectation, attempt: Attempt, check: Any, command_status: int | None
) -> tuple[str, list[str]]:
    """The status, and why. CHECK is what ``check --format json`` printed; None: there is none.
    COMMAND_STATUS is that of ``run``."""
    if attempt.status in _CANNOT or check is None:
        return ERROR, [attempt.why or f"boot ended with status {attempt.status}"]
    if INCOMPLETE not in expect.verdicts:
        if attempt.end != "done":
            return ERROR, [attempt.why]
        if attempt.stood:
            return FAILED, [attempt.why]
    why = _wrong(expect, check)
    if command_status:
        why.append(f"run ended with status {command_status}")
    only_incomplete = check["verdict"] == INCOMPLETE and INCOMPLETE not in expect.verdicts
    if not why:
        return OK, []
    return ERROR if only_incomplete else FAILED, why


def _wrong(expect: Expectation, check: Any) -> list[str]:
    found = []
    errors = [one for one in check["findings"] if one["severity"] == "error"]
    verdict = check["verdict"]
    if verdict not in expect.verdicts:
        found.append(f"{verdict}, expected {' or '.join(expect.verdicts)}")
        found += _messages(errors or check["findings"])
    if expect.errors is not None:
        ours = sorted({one["subject"] for one in errors})
        if ours != list(expect.errors):
            found.append(f"errors at {_list(ours)}, expected at {_list(expect.errors)}")
            found += _messages(one for one in errors if one["subject"] not in expect.errors)
    if expect.board is not None:
        board = [one for one in check["findings"] if one["step"].startswith("board-")]
        found += _messages(one for one in board if one["severity"] == "error")
    return list(dict.fromkeys(found))


def _messages(findings: Any) -> list[str]:
    every = [f"{one['subject']}: {one['step']}: {one['message']}" for one in findings]
    more = len(every) - _MOST
    return every if more <= 0 else [*every[:_MOST], f"and {more} more"]


def _list(subjects: Any) -> str:
    return ", ".join(subjects) or "none"
