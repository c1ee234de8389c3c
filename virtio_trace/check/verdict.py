# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks a graph against a procedure: steps, findings and a verdict.

Lost is not passed: what was not armed, lost, truncated or still running is unknown, and a verdict
with anything unknown is INCOMPLETE. A missing call is an error only if its absence is proof: its
probe point was armed all the time and no event was lost. Under profile spec, the notes on known
deviations of Linux do not change the verdict.

If devices or drivers are named (scope.py), only what concerns them counts. What came before the
recording is then not asked for; a device of which nothing was recorded is INCOMPLETE.
"""

from __future__ import annotations

from dataclasses import replace

from virtio_trace.check.checkers import LinuxChecker, SpecChecker
from virtio_trace.check.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    INCOMPLETE,
    RECORDING,
    WARNING,
    Finding,
    Result,
)
from virtio_trace.check.linux_steps import HOST_STEPS
from virtio_trace.check.profiles import LINUX, SPEC
from virtio_trace.check.proof import Known, assumed, found
from virtio_trace.check.scope import EVERYTHING, Scope
from virtio_trace.graph import builder
from virtio_trace.graph.model import Graph
from virtio_trace.recording.source import Source

_LATER = {"end-state", *(step.id for step in HOST_STEPS)}
"""Steps that compare states: they do not show how a state was reached."""


def check(graph: Graph, profile: str = LINUX, scope: Scope = EVERYTHING) -> Result:
    """Check the recording of GRAPH; see :func:`judge`."""
    return judge(graph.recording, profile, scope)


def judge(recording: Source, profile: str = LINUX, scope: Scope = EVERYTHING) -> Result:
    """Check RECORDING, or what SCOPE is of it, against the procedure of PROFILE, one of
    profiles.PROFILES.

    Each device is judged as soon as another one comes at its address, as if nothing was missing
    in the recording. If its end shows that something was, all are judged again. Raises
    BadInputError.
    """
    known = assumed(recording)
    while True:
        result, true = _judge(recording, profile, known, scope)
        if true == known:
            return result
        known = true


def renumber(result: Result, skipped: int) -> None:
    """Add SKIPPED to the numbers of the events in RESULT."""
    result.findings = [
        replace(finding, events=tuple(number + skipped for number in finding.events))
        for finding in result.findings
    ]


def _judge(recording: Source, profile: str, known: Known, scope: Scope) -> tuple[Result, Known]:
    """The result if KNOWN is true, and what is true."""
    checker = (SpecChecker if profile == SPEC else LinuxChecker)(known, scope)
    graph = builder.build(recording, checker)
    true = found(graph, profile, scope)
    if true != known:
        return Result(profile=profile), true
    result = checker.end()
    if not scope.is_all:
        _restrict(result, scope)
    result.verdict = conclude(result)
    return result, true


def _restrict(result: Result, scope: Scope) -> None:
    """Leave out what is not in SCOPE, and say of what in it nothing was seen."""
    result.scope = scope
    result.steps = [step for step in result.steps if scope.has(step.subject)]
    result.findings = [
        finding
        for finding in result.findings
        if finding.step == RECORDING or scope.has(finding.subject)
    ]
    seen = {step.subject for step in result.steps if step.ok is not None and step.id not in _LATER}
    before = {step.subject for step in result.steps if step.before}
    for subject in sorted((scope.addresses or scope.drivers) - seen):
        why = ": it was there before" if subject in before else ""
        message = f"no step of the procedure of {subject} was recorded{why}"
        result.findings.append(Finding(WARNING, RECORDING, subject, message))


def conclude(result: Result) -> str:
    """The verdict that follows from the steps and findings of RESULT."""
    if any(finding.severity == ERROR for finding in result.findings):
        return DEVIATES
    unknown = any(
        step.ok is None and (result.scope.is_all or not step.before) for step in result.steps
    )
    if unknown or any(finding.step == RECORDING for finding in result.findings):
        return INCOMPLETE
    return CONFORMS
