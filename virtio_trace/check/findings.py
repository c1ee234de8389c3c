# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check writes down: steps, findings, and the context that knows what can be proven."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from virtio_trace.check import coverage, linux_steps, recording_rules, spec_steps
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Graph
from virtio_trace.recording.probe_state import ARMED

CONFORMS = "CONFORMS"
DEVIATES = "DEVIATES"
INCOMPLETE = "INCOMPLETE"

ERROR = "error"
WARNING = "warning"
NOTE = "note"

LINUX, SPEC = recording_rules.LINUX, recording_rules.SPEC

PROFILES = {
    LINUX: (*linux_steps.STEPS, *linux_steps.LATER_STEPS, *linux_steps.HOST_STEPS),
    SPEC: spec_steps.STEPS,
}
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
        self.kept = (
            recording.trailer is not None
            and recording.lost == 0
            and not recording_rules.lost_unnoticed(graph, profile)
        )
        self._whole = self.kept and not self.running
        unseen = {(p.probe, p.function) for p in coverage.blind(recording)}
        self._blind = unseen | recording_rules.blind(graph)
        self._armed_at = {(p.probe, p.function) for p in recording.probes if p.state == ARMED}
        self._armed_probes = {probe for probe, _ in self._armed_at}
        self._points = {p.probe for p in recording.probes}

    def good(self, step: str, subject: str) -> None:
        """The step was taken as it should be."""
        self._step(step, subject, True)

    def bad(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """It was not, and that is proven. Without CALLS, what shows it is the state at the end: it
        rests on the last event about SUBJECT, or of all, after which it was read."""
        if not any(call is not None for call in calls):
            last = self._last(subject)
            if last is None:
                self.unknown(step, subject, message)
                return
            calls = (last,)
        self._step(step, subject, False)
        self.finding(ERROR, step, subject, message, *calls)

    def unknown(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """It was not seen, and could not have been seen."""
        self._step(step, subject, None)
        self.finding(WARNING, step, subject, message, *calls)

    def missing(
        self, step: str, subject: str, message: str, *calls: Call | int | None,
        also: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """No event shows it: an error where that is proof, else unknown. It needs the events of the
        step's probe points, and those of the probe points ALSO."""
        if self.sees(step) and (not also or self.sees_all(*also)):
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
        return self._whole and self._armed(self.probes[step], function)

    def sees_all(self, *probes: str) -> bool:
        """Whether every event of these probe points is in the recording."""
        return self._whole and self._armed_probes.issuperset(probes) and self._armed(probes, None)

    def _armed(self, probes: Collection[str], function: str | None) -> bool:
        """Whether the PROBES are listed, and none of them, or of FUNCTION alone, is blind."""
        if function is not None:
            if not any((probe, function) in self._armed_at for probe in probes):
                return False
        elif not self._points.issuperset(probes):
            return False
        return not any(
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

    def _last(self, subject: str) -> int | None:
        events = self.graph.recording.events
        last = self.graph.integrity.last.get(subject) or (events[-1] if events else None)
        return last.seq if last is not None else None

    def _step(self, step: str, subject: str, ok: bool | None) -> None:
        self.result.steps.append(StepResult(step, subject, ok))
