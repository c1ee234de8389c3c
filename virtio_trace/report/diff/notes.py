# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes what a comparison finds, and puts it into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtio_trace.report.diff.model import Diff, Difference, Unknown

Seqs = tuple[tuple[int, ...], tuple[int, ...]]
"""The events of the old recording, and those of the new."""

Names = Sequence[str] | None
"""None is unknown."""

_NONE: Seqs = ((), ())


class Notes:
    """Adds to DIFF."""

    def __init__(self, diff: Diff) -> None:
        self.diff = diff
        self._compared: set[tuple[str, str]] = set()
        self._unknown: set[Unknown] = set()

    def about(self, kind: str, subject: str, seqs: Seqs = _NONE) -> About:
        """What is to be said of KIND for SUBJECT, which the events SEQS show."""
        if (kind, subject) not in self._compared:
            self._compared.add((kind, subject))
            self.diff.compared.append((kind, subject))
        return About(self, kind, subject, seqs)

    def unknown(self, kind: str, subject: str, message: str) -> None:
        """KIND cannot be compared for SUBJECT."""
        one = Unknown(kind, subject, message)
        if one not in self._unknown:
            self._unknown.add(one)
            self.diff.unknown.append(one)


@dataclass(frozen=True, slots=True)
class About:
    """Takes what is found about ``kind`` for ``subject``."""

    notes: Notes
    kind: str
    subject: str
    seqs: Seqs

    def differ(self, what: str, old: Any, new: Any, message: str = "") -> None:
        """WHAT was OLD and is NEW."""
        said = message or f"{what} was {_words(old)}, is {_words(new)}"
        found = Difference(self.kind, self.subject, what, old, new, said, *self.seqs)
        self.notes.diff.differences.append(found)

    def equal(self, what: str, old: Any, new: Any) -> None:
        """Compare OLD and NEW; None is unknown."""
        if old == new:
            return
        if old is None or new is None:
            side = self.notes.diff.old if old is None else self.notes.diff.new
            self.unknown(f"{what} is unknown in {side.called}")
        else:
            self.differ(what, old, new)

    def names(self, what: str, old: Names, new: Names) -> None:
        """Compare two sets of names; the difference has those that are in one alone."""
        if old is None or new is None:
            self.equal(what, old, new)
            return
        before, after = {*old}, {*new}
        gone = [name for name in old if name not in after]
        came = [name for name in new if name not in before]
        if not gone and not came:
            return
        parts = [f"no more {', '.join(gone)}"] if gone else []
        parts += [f"now {', '.join(came)}"] if came else []
        self.differ(what, gone, came, f"{what}: {'; '.join(parts)}")

    def unknown(self, message: str) -> None:
        """It cannot be compared."""
        self.notes.unknown(self.kind, self.subject, message)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", [], ()):
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
