# SPDX-License-Identifier: GPL-2.0-or-later
"""The features of a binding by what became of them: one rule for every format of a report.

Which of them is missing, and why, is decided in check/missing_features.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from virtio_trace.virtio import features

MISSING, TAKEN, GIVEN_UP, NOT_WANTED, NOT_TAKEN, OFFERED, NOT_OFFERED = (
    "missing", "taken", "given up", "not wanted", "not taken", "offered", "not offered",
)  # fmt: skip
"""Outcomes. TAKEN: negotiated, or written and refused. NOT_TAKEN: whether it was wanted is unknown.
OFFERED: nothing was written."""


class FeatureSets:
    """The features of BINDING, as the report has it. Names of the kernel's headers."""

    def __init__(self, binding: dict[str, Any]) -> None:
        found = binding["features"]
        offered, agreed = found["offered"], found["negotiated"]
        self.is_negotiated = agreed is not None
        self.is_written = agreed is not None or bool(found["written"])
        self.is_known = offered is not None or self.is_negotiated
        self.is_offer_known = offered is not None
        self.taken: list[str] = found["written"] or [] if agreed is None else agreed
        self.offered: list[str] = offered or []
        self.is_table_known = found["driver"] is not None
        self.wanted: list[str] = found["driver"] or []
        self.missing: dict[str, str] = {one["name"]: one["why"] for one in found["missing"]}
        known = dict.fromkeys((*self.offered, *self.wanted, *self.taken, *self.missing))
        self._outcomes = {name: self._outcome(name) for name in known}

    def __iter__(self) -> Iterator[str]:
        """The names of all features that either side knows."""
        return iter(self._outcomes)

    def outcome(self, name: str) -> str:
        """What became of the feature NAME."""
        return self._outcomes[name]

    def those(self, outcome: str) -> list[str]:
        """The features with OUTCOME."""
        return [name for name, became in self._outcomes.items() if became == outcome]

    def is_wanted(self, name: str) -> bool:
        """Whether the driver's table has NAME, or the core keeps it for every driver."""
        return name in self.wanted or is_kept_by_core(name)

    def _outcome(self, name: str) -> str:
        if name in self.missing:
            return MISSING
        if name in self.taken:
            return TAKEN
        if name not in self.offered:
            return NOT_OFFERED
        if not self.is_written:
            return OFFERED
        if self.is_wanted(name):
            return GIVEN_UP
        return NOT_WANTED if self.is_table_known else NOT_TAKEN


def is_kept_by_core(name: str) -> bool:
    """Whether virtio_dev_probe keeps the feature NAME whatever the driver's table has."""
    bit = features.bit(None, name)
    return bit in features.KEPT_BY_CORE and not name.startswith("bit ")
