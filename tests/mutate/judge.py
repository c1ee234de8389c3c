# SPDX-License-Identifier: GPL-2.0-or-later
"""When a mutant is noticed, and when it is blamed on the kernel.

A mutant **passes** where nothing tells it from a recording that is right:

- of a recording that CONFORMS, it still CONFORMS;
- of any other, the check complains of nothing that it did not complain of before. A complaint is an
  error or a warning: its severity, step and subject, each counted.

A mutant is **blamed** where it only hides what was there, and the check has an error all the same
that it did not have before. What is not seen proves nothing.

A file that the reader refuses is noticed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.mutate.base import Base, Mutant
from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, ERROR, NOTE, Result
from virtio_trace.check.profiles import LINUX, SPEC
from virtio_trace.errors import BadInputError
from virtio_trace.graph import builder

PROFILES = (LINUX, SPEC)
PASSED, BLAMED = "passed", "blamed"

Complaints = Counter[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that was not treated as it should be."""

    how: str
    profile: str
    name: str
    where: str


class Judge:
    """Compares the mutants of one recording with it."""

    def __init__(self, base: Base) -> None:
        self._base = base
        graph = builder.build(base.recording)
        self._before = {profile: verdict.check(graph, profile) for profile in PROFILES}
        self._complaints = {p: complaints(result) for p, result in self._before.items()}

    def survivors(self, mutant: Mutant) -> list[Survivor]:
        """What became of MUTANT in each profile where that was not right."""
        try:
            graph = builder.build(self._base.recording_of(mutant))
        except BadInputError:
            return []
        found = []
        for profile in PROFILES:
            how = self._how(verdict.check(graph, profile), profile, mutant.hides)
            if how is not None:
                where = f"{self._base.name} {mutant.where}".strip()
                found.append(Survivor(how, profile, mutant.name, where))
        return found

    def _how(self, result: Result, profile: str, hides: bool) -> str | None:
        more = complaints(result) - self._complaints[profile]
        if hides and any(severity == ERROR for severity, _, _ in more):
            return BLAMED
        if self._before[profile].verdict == CONFORMS:
            return PASSED if result.verdict == CONFORMS else None
        return None if more else PASSED


def complaints(result: Result) -> Complaints:
    """The errors and warnings of RESULT, without their words."""
    return Counter((f.severity, f.step, f.subject) for f in result.findings if f.severity != NOTE)
