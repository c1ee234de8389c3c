# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit XML, read by junitparser and held to Jenkins' schema."""

from __future__ import annotations

from pathlib import Path

import junitparser
import pytest
import xmlschema

from tests.unit.render.results import ABOUT, HOSTILE, NAMES, hostile, incomplete, result, written
from tests.unit.surgery import golden, judge, remove
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, Result
from virtio_trace.render import junit
from virtio_trace.render.escape import escape
from virtio_trace.report import cases

_KINDS = {
    junitparser.Failure: "failed",
    junitparser.Error: "broken",
    junitparser.Skipped: "skipped",
}


def _validate(text: str, schema: Path) -> None:
    xmlschema.XMLSchema(str(schema)).validate(text)


def _read(text: str) -> junitparser.TestSuite:
    (suite,) = junitparser.JUnitXml.fromstring(text.encode("utf-8"))
    return suite


def _outcomes(suite: junitparser.TestSuite) -> dict[str, str]:
    found = {}
    for case in suite:
        kinds = [_KINDS[type(part)] for part in case.result if type(part) in _KINDS]
        assert case.name not in found
        found[case.name] = kinds[0] if kinds else "passed"
    return found


@pytest.mark.parametrize("name", NAMES)
def test_golden_recordings_fit_jenkins_schema(name: str, junit_schema: Path) -> None:
    found, about = result(name)
    _validate(written(junit.junit, found, about=about), junit_schema)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_a_case(name: str) -> None:
    found, about = result(name)
    suite = _read(written(junit.junit, found, about=about))
    outcomes = _outcomes(suite)
    steps = {f"{step.subject} {step.id}" for step in found.steps}
    assert outcomes.keys() == steps | {"recording complete", "verdict"}
    for step in found.steps:
        if step.ok is False:
            assert outcomes[f"{step.subject} {step.id}"] == "failed"
    expected = {CONFORMS: "passed", DEVIATES: "failed", INCOMPLETE: "broken"}
    assert outcomes["verdict"] == expected[found.verdict]
    counted = [*outcomes.values()]
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (
        len(counted), counted.count("failed"), counted.count("broken"), counted.count("skipped"),
    )  # fmt: skip


def test_what_is_unknown_is_skipped_and_the_verdict_an_error() -> None:
    outcomes = _outcomes(_read(written(junit.junit, incomplete(), about=ABOUT)))
    assert outcomes == {
        "0000:00:02.0 driver-probed": "skipped",
        "0000:00:03.0 driver-probed": "passed",
        "recording complete": "passed",
        "verdict": "broken",
    }


def test_a_lossy_recording_is_an_error_with_its_reason() -> None:
    found, about = result("debian-6.1-lossy")
    (case,) = (
        case
        for case in _read(written(junit.junit, found, about=about))
        if case.name == "recording complete"
    )
    assert isinstance(case.result[0], junitparser.Error)
    assert "lost" in case.result[0].text


def test_a_failure_has_the_message_of_the_finding() -> None:
    found, about = result("debian-6.1-failures")
    suite = _read(written(junit.junit, found, about=about))
    messages = {case.name: case.result[0].message for case in suite if case.is_failure}
    for finding in found.findings:
        if finding.severity == "error":
            assert messages[f"{finding.subject} {finding.step}"] == finding.message


def test_the_names_are_the_same_in_two_boots() -> None:
    """One that went well, and one in which no driver registered: it has fewer, but no others."""
    lines = golden("debian-6.1")
    cut = judge(remove(lines, lambda line: line.get("probe") == "register_virtio_driver"))
    whole = judge(lines)
    names = [_outcomes(_read(written(junit.junit, r, about=ABOUT))).keys() for r in (whole, cut)]
    assert whole.verdict != cut.verdict
    assert names[1] < names[0]


def test_hostile_text_is_text(junit_schema: Path) -> None:
    text = written(junit.junit, hostile(), about=ABOUT)
    assert text.isascii()
    _validate(text, junit_schema)
    suite = _read(text)
    (failed,) = (case for case in suite if case.is_failure and "verdict" not in case.name)
    assert failed.name == f"{escape(HOSTILE)} driver-probed"
    assert failed.result[0].message == escape(HOSTILE)
    assert escape(HOSTILE) in failed.system_out


def test_a_boot_without_a_recording_is_an_error(junit_schema: Path) -> None:
    found = cases.no_recording("the guest died after 3.0 s")
    text = written(junit.write, found, about=None, properties={})
    _validate(text, junit_schema)
    (case,) = _read(text)
    assert (case.name, case.result[0].message) == ("boot", "the guest died after 3.0 s")
    assert isinstance(case.result[0], junitparser.Error)


def test_a_boot_that_failed_is_an_error_whatever_the_verdict() -> None:
    found = cases.cases(Result(CONFORMS), "the system did not come up")
    outcomes = _outcomes(_read(written(junit.write, found, about=ABOUT, properties={})))
    assert outcomes == {"recording complete": "passed", "boot": "broken", "verdict": "broken"}
