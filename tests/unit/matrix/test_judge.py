# SPDX-License-Identifier: GPL-2.0-or-later
"""A case against what was expected of it."""

from __future__ import annotations

from typing import Any

import pytest

from virtio_trace.matrix.case import ERROR, FAILED, OK, Attempt
from virtio_trace.matrix.judge import judge
from virtio_trace.matrix.settings import Expectation

DONE = Attempt("done", 0, 1.0, "tcg", "the guest ended")
DIED = Attempt("died", 4, 1.0, "tcg", "the guest died after 1.0 s")
STOOD = Attempt("done", 4, 1.0, "tcg", "the system did not come up", stood=True)
REFUSED = Attempt("none", 2, 1.0, "", "QEMU refused its options: x")


def _check(verdict: str, *findings: tuple[str, str, str]) -> Any:
    found = [
        {"severity": severity, "subject": subject, "step": step, "message": "m"}
        for severity, subject, step in findings
    ]
    return {"verdict": verdict, "findings": found}


NET = ("error", "02.0", "driver-probed")
BOARD = ("error", "03.0", "board-driver")
CONFORMS, DEVIATES, INCOMPLETE = _check("CONFORMS"), _check("DEVIATES", NET), _check("INCOMPLETE")
EXPECT = Expectation()
FAILING = Expectation(("DEVIATES",), errors=("02.0",))

CASES: list[tuple[Expectation, Attempt, Any, str, str]] = [
    (EXPECT, DONE, CONFORMS, OK, ""),
    (EXPECT, DONE, DEVIATES, FAILED, "DEVIATES, expected CONFORMS"),
    (EXPECT, DONE, DEVIATES, FAILED, "02.0: driver-probed: m"),
    (EXPECT, DONE, INCOMPLETE, ERROR, "INCOMPLETE, expected CONFORMS"),
    (EXPECT, DONE, None, ERROR, "the guest ended"),
    (EXPECT, DIED, INCOMPLETE, ERROR, "the guest died after 1.0 s"),
    (EXPECT, STOOD, CONFORMS, FAILED, "the system did not come up"),
    (EXPECT, REFUSED, None, ERROR, "QEMU refused its options: x"),
    (Expectation(("CONFORMS", "INCOMPLETE")), DIED, INCOMPLETE, OK, ""),
    (FAILING, DONE, DEVIATES, OK, ""),
    (FAILING, DONE, CONFORMS, FAILED, "CONFORMS, expected DEVIATES"),
    (FAILING, DONE, CONFORMS, FAILED, "errors at none, expected at 02.0"),
    (FAILING, DONE, _check("DEVIATES", BOARD), FAILED, "errors at 03.0, expected at 02.0"),
    (Expectation(errors=()), DONE, CONFORMS, OK, ""),
    (Expectation(("DEVIATES",), board="x"), DONE, _check("DEVIATES", NET), OK, ""),
    (
        Expectation(("DEVIATES",), board="x"), DONE, _check("DEVIATES", NET, BOARD), FAILED,
        "03.0: board-driver: m",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("expect", "attempt", "check", "status", "words"), CASES)
def test_a_case(expect: Expectation, attempt: Attempt, check: Any, status: str, words: str) -> None:
    found, why = judge(expect, attempt, check, None)
    assert found == status
    assert words in why if words else why == []


def test_a_command_that_fails_in_the_guest_fails_the_case() -> None:
    assert judge(EXPECT, DONE, CONFORMS, 0) == (OK, [])
    assert judge(EXPECT, DONE, CONFORMS, 3) == (FAILED, ["run ended with status 3"])


def test_of_many_messages_the_first_are_kept() -> None:
    many = _check("DEVIATES", *(("error", f"{number:02}.0", "x") for number in range(30)))
    _, why = judge(EXPECT, DONE, many, None)
    assert len(why) == 7
    assert why[-1] == "and 25 more"
