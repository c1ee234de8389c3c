# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides whether the check noticed a mutant, and whether it wrongly blamed the kernel for it.

A mutant of a recording without lost events **passes** if the check does not notice it:

- the original CONFORMS, and the mutant does too;
- or the original does not conform, and the check has no complaint about the mutant that it did not
  have before. A complaint is an error or a warning, identified by severity, step and subject;
  complaints are counted.

A mutant is **blamed** if it only hides something, and the check reports an error that it did not
report before. Something that was not seen proves nothing.

A mutant that the reader refuses is noticed. In a recording that lost events, what is missing proves
nothing: its mutants can only be blamed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.mutate.base import Base, Mutant
from virtio_trace.check import named, verdict
from virtio_trace.check.findings import CONFORMS, ERROR, NOTE, Result
from virtio_trace.check.profiles import LINUX, SPEC
from virtio_trace.errors import BadInputError

PROFILES = (LINUX, SPEC)
PASSED, BLAMED = "passed", "blamed"

Complaints = Counter[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that passed or was blamed."""

    how: str
    profile: str
    name: str
    where: str


class Judge:
    """Compares the check's results on one recording and on its mutants: on all of them, or on what
    DEVICES name."""

    def __init__(self, base: Base, devices: tuple[str, ...] = ()) -> None:
        self._base = base
        self._scope = named.scope(base.recording, devices, ())
        self._before = {
            profile: verdict.judge(base.recording, profile, self._scope) for profile in PROFILES
        }
        self._complaints = {p: complaints(result) for p, result in self._before.items()}

    def survivors(self, mutant: Mutant) -> list[Survivor]:
        """A Survivor for each profile in which MUTANT passed or was blamed."""
        try:
            recording = self._base.recording_of(mutant)
        except BadInputError:
            return []
        found = []
        for profile in PROFILES:
            how = self._how(verdict.judge(recording, profile, self._scope), profile, mutant.hides)
            if how is not None:
                where = f"{self._base.name} {mutant.where}".strip()
                found.append(Survivor(how, profile, mutant.name, where))
        return found

    def _how(self, result: Result, profile: str, hides: bool) -> str | None:
        more = complaints(result) - self._complaints[profile]
        if hides and any(severity == ERROR for severity, _, _ in more):
            return BLAMED
        if self._base.recording.lost:
            return None
        if self._before[profile].verdict == CONFORMS:
            return PASSED if result.verdict == CONFORMS else None
        return None if more else PASSED


def complaints(result: Result) -> Complaints:
    """The errors and warnings of RESULT, without their messages."""
    return Counter((f.severity, f.step, f.subject) for f in result.findings if f.severity != NOTE)
