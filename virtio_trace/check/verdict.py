# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks a graph against a procedure: steps, findings and a verdict.

Lost is not passed: what was not armed, lost, truncated or still running is unknown, and a verdict
with anything unknown is INCOMPLETE. A missing call is an error only if its absence is proof: its
probe point was armed all the time and no event was lost. Under profile spec, the notes on known
deviations of Linux do not change the verdict.
"""

from __future__ import annotations

from virtio_trace.check.checkers import LinuxChecker, SpecChecker
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE, RECORDING, Result
from virtio_trace.check.profiles import LINUX, SPEC
from virtio_trace.check.proof import Known, assumed, found
from virtio_trace.graph import builder
from virtio_trace.graph.model import Graph
from virtio_trace.recording.source import Source


def check(graph: Graph, profile: str = LINUX) -> Result:
    """Check the recording of GRAPH; see :func:`judge`."""
    return judge(graph.recording, profile)


def judge(recording: Source, profile: str = LINUX) -> Result:
    """Check RECORDING against the procedure of PROFILE, one of profiles.PROFILES.

    Each device is judged as soon as another one comes at its address, as if nothing was missing
    in the recording. If its end shows that something was, all are judged again. Raises
    BadInputError.
    """
    known = assumed(recording)
    while True:
        result, true = _judge(recording, profile, known)
        if true == known:
            return result
        known = true


def _judge(recording: Source, profile: str, known: Known) -> tuple[Result, Known]:
    """The result if KNOWN is true, and what is true."""
    checker = SpecChecker(known) if profile == SPEC else LinuxChecker(known)
    graph = builder.build(recording, checker)
    true = found(graph, profile)
    if true != known:
        return Result(profile=profile), true
    result = checker.end()
    result.verdict = _verdict(result)
    return result, true


def _verdict(result: Result) -> str:
    if any(finding.severity == ERROR for finding in result.findings):
        return DEVIATES
    unknown = any(step.ok is None for step in result.steps)
    if unknown or any(finding.step == RECORDING for finding in result.findings):
        return INCOMPLETE
    return CONFORMS
