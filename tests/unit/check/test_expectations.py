# SPDX-License-Identifier: GPL-2.0-or-later
"""check --strict: which warnings deviate, and which do not."""

from __future__ import annotations

import pytest

from tests.unit.surgery import GOLDEN, golden, judge
from virtio_trace.check.expectations import Expectations, strict
from virtio_trace.check.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    INCOMPLETE,
    RECORDING,
    WARNING,
    Result,
)
from virtio_trace.check.verdict import conclude

ALL = sorted(path.stem for path in GOLDEN.glob("*.vtr"))


@pytest.mark.parametrize("profile", ["linux", "spec"])
@pytest.mark.parametrize("name", ALL)
def test_what_is_unknown_stays_unknown(name: str, profile: str) -> None:
    before, after = judge(golden(name), profile), judge(golden(name), profile)
    strict(after)
    unknown = {(step.id, step.subject) for step in before.steps if step.ok is None}
    for was, now in zip(before.findings, after.findings, strict=True):
        if was.severity != now.severity:
            assert (was.severity, now.severity) == (WARNING, ERROR)
            assert was.step != RECORDING
            assert (was.step, was.subject) not in unknown
        elif was.severity == WARNING:
            assert was.step == RECORDING or (was.step, was.subject) in unknown
    assert after.steps == before.steps
    if before.verdict != after.verdict:
        assert after.verdict == DEVIATES
        assert before.findings != after.findings


def test_a_device_without_a_driver_deviates() -> None:
    """Debian's cloud kernel has no driver for one of these devices: a warning, unless strict."""
    results = {name: judge(golden(name)) for name in ALL}
    found = [
        (name, finding)
        for name, result in results.items()
        for finding in result.findings
        if finding.severity == WARNING and "no driver in" in finding.message
    ]
    assert found
    for name, finding in found:
        strict(results[name])
        (now,) = [
            one
            for one in results[name].findings
            if (one.subject, one.message) == (finding.subject, finding.message)
        ]
        assert now.severity == ERROR
        assert results[name].verdict == DEVIATES


def test_strict_changes_nothing_about_a_good_boot() -> None:
    result = judge(golden("debian-6.1"))
    strict(result)
    assert result.verdict == CONFORMS


def test_expectations_are_steps_with_findings() -> None:
    found = Expectations(last=7)
    found.add("board-device", "a", True)
    found.add("board-state", "a", False, "wrong")
    found.add("board-queues", "a", None, "unknown")
    result = Result(verdict=CONFORMS)
    found.apply(result)
    assert [step.ok for step in result.steps] == [True, False, None]
    assert [(f.severity, f.message, f.events) for f in result.findings] == [
        (ERROR, "wrong", (7,)),
        (WARNING, "unknown", ()),
    ]
    assert result.verdict == DEVIATES
    result.findings.pop(0)
    result.steps.pop(1)
    assert conclude(result) == INCOMPLETE
