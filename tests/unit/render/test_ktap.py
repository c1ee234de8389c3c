# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP, read by the kernel's own parser and by tap.py."""

from __future__ import annotations

import contextlib
import io
import re
from types import ModuleType
from typing import Any

import pytest
from tap.line import Diagnostic, Plan, Result, Unknown
from tap.parser import Parser

from tests.unit.render.results import ABOUT, NAMES, hostile, incomplete, result, written
from virtio_trace.check.findings import CONFORMS
from virtio_trace.render.ktap import ktap


def _parsed(kunit: ModuleType, text: str) -> tuple[Any, str]:
    """The kernel's parser's tests, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        found = kunit.parse_run_tests(text.splitlines())
    return found, printed.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_the_kernels_parser_reads_each_golden_recording(name: str, kunit: ModuleType) -> None:
    found, about = result(name)
    tests, printed = _parsed(kunit, written(ktap, found, about=about))
    assert "[ERROR]" not in printed
    assert (tests.status == kunit.TestStatus.SUCCESS) == (found.verdict == CONFORMS)
    assert tests.counts.errors == 0
    bad = {(step.subject, step.id) for step in found.steps if step.ok is False}
    failed = {
        (test.name, case.name)
        for test in tests.subtests
        for case in test.subtests
        if case.status == kunit.TestStatus.FAILURE
    }
    assert failed == bad
    assert {test.name for test in tests.subtests} >= {step.subject for step in found.steps}


@pytest.mark.parametrize("name", NAMES)
def test_tap_reads_each_golden_recording(name: str) -> None:
    found, about = result(name)
    lines = list(Parser().parse_text(written(ktap, found, about=about)))
    plans = [line.expected_tests for line in lines if isinstance(line, Plan)]
    tests = [line for line in lines if isinstance(line, Result)]
    assert plans == [len(tests)]
    assert [line.number for line in tests] == list(range(1, len(tests) + 1))
    assert tests[-1].description == "verdict"
    assert tests[-1].ok == (found.verdict == CONFORMS)


def test_what_is_unknown_is_skipped_and_the_verdict_an_error() -> None:
    text = written(ktap, incomplete(), about=ABOUT)
    assert "  ok 1 driver-probed # SKIP it was not seen\n" in text
    assert "\nok 1 0000:00:02.0 # SKIP " in text
    assert re.search(r"^not ok 4 verdict # ERROR INCOMPLETE", text, re.MULTILINE)


def test_hostile_text_is_one_line_without_a_directive(kunit: ModuleType) -> None:
    text = written(ktap, hostile(), about=ABOUT)
    for line in text.splitlines():
        assert re.fullmatch(
            r" *(KTAP version 1|1\.\.[0-9]+|#.*|(not )?ok [0-9]+ [^#]+( # (SKIP|ERROR) [^#]+)?)",
            line,
        )
    tests, printed = _parsed(kunit, text)
    assert "[ERROR]" not in printed
    statuses = [case.status.name for test in tests.subtests for case in test.subtests]
    assert statuses == ["FAILURE", "SKIPPED", "SKIPPED"]
    kinds = {type(line) for line in Parser().parse_text(text)}
    assert kinds == {Diagnostic, Plan, Result, Unknown}  # unknown: KTAP's version, and subtests
