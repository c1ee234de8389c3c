# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check writes down: steps, findings, and the context that knows what can be proven."""

from __future__ import annotations

from dataclasses import dataclass, field

from virtio_trace.check import coverage, linux_steps, spec_steps
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Graph

CONFORMS = "CONFORMS"
DEVIATES = "DEVIATES"
INCOMPLETE = "INCOMPLETE"

ERROR = "error"
WARNING = "warning"
NOTE = "note"

LINUX, SPEC = "linux", "spec"

PROFILES = {LINUX: (*linux_steps.STEPS, *linux_steps.HOST_STEPS), SPEC: spec_steps.STEPS}
"""The steps of each procedure that a recording can be checked against."""

RECORDING = "recording"
"""The step of findings that are about the recording itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, or unknown, and the sequence numbers of the events that show it."""

    severity: str
    step: str
    subject: str
    message: str
    events: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step of the procedure for one subject; ``ok`` is None where it is unknown."""

    id: str
    subject: str
    ok: bool | None


@dataclass(slots=True)
class Result:
    """The verdict with all that it rests on."""

    verdict: str = INCOMPLETE
    profile: str = LINUX
    steps: list[StepResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class CheckContext:
    """Where rules write what they found; knows what the recording can prove."""

    def __init__(self, graph: Graph, profile: str = LINUX) -> None:
        self.graph = graph
        self.result = Result(profile=profile)
        self.probes = {step.id: step.probes for step in PROFILES[profile]}
        recording = graph.recording
        # A call that is still running may yet do what was not seen.
        self.running = any(call.ret is None for call in graph.calls)
        self.kept = recording.trailer is not None and recording.lost == 0
        self._whole = self.kept and not self.running
        self._blind = {(p.probe, p.function) for p in coverage.blind(recording)}

    def good(self, step: str, subject: str) -> None:
        """The step was taken as it should be."""
        self._step(step, subject, True)

    def bad(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """It was not, and that is proven."""
        self._step(step, subject, False)
        self.finding(ERROR, step, subject, message, *calls)

    def unknown(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """It was not seen, and could not have been seen."""
        self._step(step, subject, None)
        self.finding(WARNING, step, subject, message, *calls)

    def missing(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """No event shows it: an error where that is proof, else unknown."""
        if self.sees(step):
            self.bad(step, subject, message, *calls)
        else:
            self.unknown(step, subject, f"{message}, or it was not seen", *calls)

    def finding(
        self, severity: str, step: str, subject: str, message: str, *calls: Call | int | None
    ) -> None:
        """A finding alone, without a step's result."""
        seqs: list[int] = []
        for call in calls:
            if isinstance(call, Call):
                seqs += call.seqs
            elif call is not None:
                seqs.append(call)
        self.result.findings.append(
            Finding(severity, step, subject, message, tuple(sorted(set(seqs))))
        )

    def sees(self, step: str, function: str | None = None) -> bool:
        """Whether the absence of the step's events is proof that it did not happen."""
        probes = self.probes[step]
        return self._whole and not any(
            probe in probes and (function is None or name == function)
            for probe, name in self._blind
        )

    def returned(self, step: str, subject: str, call: Call) -> bool:
        """The step by what its CALL returned; False where that was an error."""
        if call.ret is None:
            self.unfinished(step, subject, call)
        elif call.result == 0:
            self.good(step, subject)
        elif call.result is None:
            self.unknown(step, subject, f"what {call.event.symbol} returned is unknown", call)
        else:
            self.bad(step, subject, failure(call), call)
            return False
        return True

    def unfinished(self, step: str, subject: str, call: Call) -> None:
        """The step's CALL was still running."""
        message = f"{call.event.symbol} had not returned when the recording ended"
        self.unknown(step, subject, message, call)

    def _step(self, step: str, subject: str, ok: bool | None) -> None:
        self.result.steps.append(StepResult(step, subject, ok))
