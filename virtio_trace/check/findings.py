# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check produces: step results, findings and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from virtio_trace.check.profiles import LINUX
from virtio_trace.check.proof import Known, Proof
from virtio_trace.check.scope import EVERYTHING, Scope
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Graph

CONFORMS = "CONFORMS"
DEVIATES = "DEVIATES"
INCOMPLETE = "INCOMPLETE"

ERROR = "error"
WARNING = "warning"
NOTE = "note"

RECORDING = "recording"
"""The step of findings about the recording itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong or unknown, and the sequence numbers of the events that show it. ``before``: it
    is unknown only because it came before the recording. ``unknown``: the recording cannot tell
    whether something is wrong."""

    severity: str
    step: str
    subject: str
    message: str
    events: tuple[int, ...] = ()
    before: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step of the procedure for one subject; ``ok`` is None if it is unknown. ``before``: see
    Finding."""

    id: str
    subject: str
    ok: bool | None
    before: bool = False


@dataclass(slots=True)
class Result:
    """The verdict, with the steps and findings it is based on. ``unplaced``: devices of the host
    that could not be identified in the guest, so that nothing of them was compared. ``scope``: what
    was judged; steps and findings about anything else are left out."""

    verdict: str = INCOMPLETE
    profile: str = LINUX
    steps: list[StepResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unplaced: int = 0
    scope: Scope = EVERYTHING


_Part = tuple[int, int, tuple[StepResult, ...], tuple[Finding, ...]]
"""Place, number, steps and findings."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judgement of one step of a subject. ``ok``: False if proven wrong, None if unknown.
    ``is_step`` is False for a finding without a step result. ``calls``: what shows it.
    ``before``: see Finding."""

    step: str
    message: str
    calls: tuple[Call | int | None, ...] = ()
    ok: bool | None = None
    is_step: bool = True
    before: bool = False


class CheckContext(Proof):
    """Collects what the rules find, by section and by place in it."""

    def __init__(self, graph: Graph, profile: str = LINUX, known: Known | None = None) -> None:
        super().__init__(graph, profile, known)
        self.seen: dict[tuple[str, str], bool] = {}
        """For spec_findings: whether all calls of a probe point on a bus were recorded."""
        self.unplaced = 0
        """See Result."""
        self._steps: list[StepResult] = []
        self._findings: list[Finding] = []
        self._kept: dict[int, list[_Part]] = {}
        self._known_steps: dict[tuple[str, str, bool | None, bool], StepResult] = {}
        self._known_parts: dict[tuple[int, ...], tuple[StepResult, ...]] = {}

    def judge(self, section: int, place: int, rule: Callable[..., None], *subjects: Any) -> None:
        """Call RULE with this context and SUBJECTS, and keep what it finds at PLACE in SECTION.

        Raises NotYetError if it needs events that were not read yet; it has then found nothing.
        """
        steps, findings = self._steps, self._findings
        steps.clear()
        findings.clear()
        rule(self, *subjects)
        if steps or findings:
            key = tuple(map(id, steps))
            same = self._known_parts.get(key)
            if same is None:
                same = self._known_parts[key] = tuple(steps)
            parts = self._kept.setdefault(section, [])
            parts.append((place, len(parts), same, tuple(findings)))

    def result(self) -> Result:
        """All that was found: by section, by place, and in the order of the calls of judge()."""
        found = Result(profile=self.profile, unplaced=self.unplaced)
        for section in sorted(self._kept):
            for _, _, steps, findings in sorted(self._kept[section], key=_place):
                found.steps += steps
                found.findings += findings
        return found

    def record(self, subject: str, judgement: Judgement) -> None:
        """Record JUDGEMENT of SUBJECT. One without a step result is a warning."""
        step, message, calls = judgement.step, judgement.message, judgement.calls
        if not judgement.is_step:
            self.finding(WARNING, step, subject, message, *calls)
        elif judgement.before:
            self.before(step, subject, message)
        elif judgement.ok is False:
            self.bad(step, subject, message, *calls)
        else:
            self.unknown(step, subject, message, *calls)

    def good(self, step: str, subject: str) -> None:
        """The step was taken correctly."""
        self._step(step, subject, True)

    def bad(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """The step is proven wrong. Without CALLS, the state at the end shows it: the finding then
        names the last event about SUBJECT, or the last of all, because sysfs was read after it."""
        if not any(call is not None for call in calls):
            last = self._last(subject)
            if last is None:
                self.unknown(step, subject, message)
                return
            calls = (last,)
        self._step(step, subject, False)
        self.finding(ERROR, step, subject, message, *calls)

    def unknown(self, step: str, subject: str, message: str, *calls: Call | int | None) -> None:
        """The recording cannot tell whether the step was taken."""
        self._step(step, subject, None)
        self.finding(WARNING, step, subject, message, *calls, unknown=True)

    def before(self, step: str, subject: str, message: str) -> None:
        """The step is unknown because it was taken, if it was, before the recording."""
        self._step(step, subject, None, before=True)
        self._findings.append(Finding(WARNING, step, subject, message, before=True))

    def missing(
        self, step: str, subject: str, message: str, *calls: Call | int | None,
        also: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """No event shows the step; see :func:`missing`."""
        self.record(subject, missing(self, step, message, *calls, also=also))

    def finding(
        self, severity: str, step: str, subject: str, message: str, *calls: Call | int | None,
        unknown: bool = False,
    ) -> None:  # fmt: skip
        """Add a finding without a step result."""
        seqs: list[int] = []
        for call in calls:
            if isinstance(call, Call):
                seqs += call.seqs
            elif call is not None:
                seqs.append(call)
        events = tuple(sorted(set(seqs)))
        self._findings.append(Finding(severity, step, subject, message, events, unknown=unknown))

    def returned(self, step: str, subject: str, call: Call) -> bool:
        """Record the step by the result of its CALL. Return False if CALL returned an error."""
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
        """The CALL of the step had not returned."""
        self.record(subject, unfinished(step, call))

    def _last(self, subject: str) -> int | None:
        self.graph.need_end()
        last = self.graph.integrity.last.get(subject)
        return last.seq if last is not None else self.graph.recording.last_seq or None

    def _step(self, step: str, subject: str, ok: bool | None, before: bool = False) -> None:
        key = step, subject, ok, before
        known = self._known_steps.get(key)
        if known is None:
            known = self._known_steps[key] = StepResult(*key)
        self._steps.append(known)


def _place(part: _Part) -> tuple[int, int]:
    return part[:2]


def missing(
    proof: Proof, step: str, message: str, *calls: Call | int | None, also: tuple[str, ...] = ()
) -> Judgement:
    """No event shows the step: an error if that is proof, otherwise unknown.

    It is proof if all events of the step's probe points, and of the probe points ALSO, were
    recorded.
    """
    if proof.sees(step) and (not also or proof.sees_all(*also)):
        return Judgement(step, message, calls, ok=False)
    return Judgement(step, f"{message}, or it was not seen", calls)


def unfinished(step: str, call: Call) -> Judgement:
    """The judgement of a step whose CALL had not returned."""
    message = f"{call.event.symbol} had not returned when the recording ended"
    return Judgement(step, message, (call,))
