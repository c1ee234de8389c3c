# SPDX-License-Identifier: GPL-2.0-or-later
"""A check's result as the test cases that CI systems count: one for each subject and step.

A subject may take a step several times, e.g. a device that was bound, unbound and bound again. That
is one case, so that the name of a case is the same in every run. Two more cases follow: what the
recording lacks, and the verdict.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from virtio_trace.check.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    NOTE,
    RECORDING,
    WARNING,
    Finding,
    Result,
)
from virtio_trace.check.profiles import PROFILES

PASSED = "passed"
FAILED = "failed"
UNKNOWN = "unknown"
BEFORE = "before"
BROKEN = "broken"
"""Outcomes. UNKNOWN: the recording does not show it. BEFORE: it came before the recording. BROKEN:
the recording, or the boot, is not whole."""

VERDICT = "verdict"
BOOT = "boot"
"""Subjects, and steps, of cases about the whole; RECORDING is another one."""


@dataclass(slots=True)
class Case:
    """One case. ``text``: what the step is, empty if the procedure does not say. ``why``: why it
    did not pass. ``remarks``: other findings about it, each with its severity."""

    subject: str
    step: str
    outcome: str
    text: str = ""
    why: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def cases(result: Result, broken: str | None = None) -> list[Case]:
    """The cases of RESULT by subject, the verdict last. BROKEN: why the boot failed, if it did."""
    texts = {step.id: step.text for step in PROFILES[result.profile]}
    of_step: dict[tuple[str, str], Case] = {}
    for step in result.steps:
        key = step.subject, step.id
        case = of_step.get(key)
        outcome = _OUTCOMES[step.ok] if not step.before else BEFORE
        if case is None:
            of_step[key] = Case(step.subject, step.id, outcome, texts.get(step.id, ""))
        elif _RANK[outcome] > _RANK[case.outcome]:
            case.outcome = outcome
    whole = Case(RECORDING, "complete", PASSED, "the recording has all that happened")
    others = Case(VERDICT, VERDICT, PASSED)
    for finding in result.findings:
        if finding.step == RECORDING:
            whole.outcome = BROKEN
            whole.why.append(finding.message)
        else:
            _add(of_step.get((finding.subject, finding.step)), finding, others)
    by_subject: dict[str, list[Case]] = {}
    for case in of_step.values():
        by_subject.setdefault(case.subject, []).append(case)
    found = [case for same in by_subject.values() for case in same]
    booted = [] if broken is None else [Case(BOOT, BOOT, BROKEN, "the guest ran", [broken])]
    return [*found, whole, *booted, _verdict(result, others, broken)]


def no_recording(broken: str) -> list[Case]:
    """The cases of a boot that left no recording: BROKEN is why."""
    return [Case(BOOT, BOOT, BROKEN, "the guest ran", [broken])]


def verdict_line(result: Result) -> str:
    """``DEVIATES (profile linux): 40 of 42 steps passed, 1 error, 2 warnings``."""
    since = [step for step in result.steps if not step.before]
    good = sum(step.ok is True for step in since)
    severities = Counter(finding.severity for finding in result.findings if not finding.before)
    found = [
        f"{severities[severity]} {severity}{'s' if severities[severity] > 1 else ''}"
        for severity in (ERROR, WARNING, NOTE)
        if severities[severity]
    ]
    steps = f"{good} of {len(since)} steps passed"
    asked = ", ".join(sorted(result.scope.addresses or result.scope.drivers))
    where = f"; {asked}" if asked else ""
    return f"{result.verdict} (profile {result.profile}{where}): {', '.join([steps, *found])}"


def by_message(result: Result, severity: str) -> dict[str, list[Finding]]:
    """The findings of SEVERITY by their message. What came before the recording is left out."""
    same: dict[str, list[Finding]] = {}
    for finding in result.findings:
        if finding.severity == severity and not finding.before:
            same.setdefault(finding.message, []).append(finding)
    return same


def places(findings: list[Finding]) -> list[str]:
    """``0000:00:02.0: driver-probed`` for each of FINDINGS, once."""
    found = (
        finding.subject if finding.step == RECORDING else f"{finding.subject}: {finding.step}"
        for finding in findings
    )
    return list(dict.fromkeys(found))


_OUTCOMES = {True: PASSED, False: FAILED, None: UNKNOWN}
_RANK = {BEFORE: 0, PASSED: 1, UNKNOWN: 2, FAILED: 3}
"""A step that was taken several times is as bad as the worst time."""


def _add(case: Case | None, finding: Finding, others: Case) -> None:
    if case is None:
        where = f"{finding.subject}: {finding.step}"
        others.remarks.append(f"{finding.severity}: {where}: {finding.message}")
        return
    explains = finding.severity == (ERROR if case.outcome == FAILED else WARNING)
    if case.outcome != PASSED and explains and finding.message not in case.why:
        case.why.append(finding.message)
    elif finding.message not in case.why:
        case.remarks.append(f"{finding.severity}: {finding.message}")


def _verdict(result: Result, case: Case, broken: str | None) -> Case:
    case.text = f"the verdict of profile {result.profile}"
    if result.verdict == DEVIATES:
        case.outcome = FAILED
    elif result.verdict != CONFORMS or broken is not None:
        case.outcome = BROKEN
    if case.outcome != PASSED:
        case.why.append(verdict_line(result))
    return case
