# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user expects beyond a procedure, added to the result of a check: a board, a baseline, that
nothing is a warning."""

from __future__ import annotations

from dataclasses import replace

from virtio_trace.check.findings import ERROR, RECORDING, WARNING, Finding, Result, StepResult
from virtio_trace.check.verdict import conclude


class Expectations:
    """Steps and findings of a board or a baseline. LAST is the number of the last event: it shows
    what no event shows, such as that a device is missing; 0 without events."""

    def __init__(self, last: int = 0) -> None:
        self.steps: list[StepResult] = []
        self.findings: list[Finding] = []
        self._last = (last,) if last else ()

    def add(
        self,
        step: str,
        subject: str,
        ok: bool | None,
        message: str = "",
        seqs: tuple[int, ...] = (),
    ) -> None:
        """Add a step; MESSAGE says why it is wrong or unknown, the events SEQS show it."""
        self.steps.append(StepResult(step, subject, ok))
        if ok is False:
            self.findings.append(Finding(ERROR, step, subject, message, seqs or self._last))
        elif ok is None:
            self.findings.append(Finding(WARNING, step, subject, message, seqs, unknown=True))

    def add_unknown(self, message: str) -> None:
        """Add what the comparison as a whole lacks: it rules out CONFORMS."""
        self.findings.append(Finding(WARNING, RECORDING, RECORDING, message, unknown=True))

    def apply(self, result: Result) -> None:
        """Add all to RESULT, as far as it belongs to its scope, and change its verdict."""
        has = result.scope.has
        result.steps += [step for step in self.steps if has(step.subject)]
        result.findings += [
            finding
            for finding in self.findings
            if finding.step == RECORDING or has(finding.subject)
        ]
        result.verdict = conclude(result)


def strict(result: Result) -> None:
    """Make the warnings of RESULT errors, and change its verdict. What is unknown stays so: it is
    a warning because the recording cannot tell."""
    result.findings = [
        replace(finding, severity=ERROR) if _is_known(finding) else finding
        for finding in result.findings
    ]
    result.verdict = conclude(result)


def _is_known(finding: Finding) -> bool:
    unknown = finding.unknown or finding.before or finding.step == RECORDING
    return finding.severity == WARNING and not unknown
