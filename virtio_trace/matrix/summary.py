# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of a matrix as plain data: by kernel and board, counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from virtio_trace.matrix.case import ERROR, FAILED, OK, CaseResult
from virtio_trace.matrix.folder import MatrixFolder

SCHEMA = "virtio-trace/matrix/1"


@dataclass(slots=True)
class Cell:
    """The boots of one kernel with one board. ``missing``: cases without a result."""

    results: list[CaseResult] = field(default_factory=list)
    missing: int = 0

    def count(self, status: str) -> int:
        """Results of STATUS."""
        return sum(result.status == status for result in self.results)

    @property
    def retries(self) -> int:
        """Guests that died of emulation and were started again."""
        return sum(result.retries for result in self.results)

    @property
    def worst(self) -> str | None:
        """FAILED before ERROR before OK; None without a result."""
        return next((one for one in (FAILED, ERROR, OK) if self.count(one)), None)

    @property
    def text(self) -> str:
        """``ok``, ``2 of 3 failed``, ``error``; and what is missing or was tried again."""
        total = len(self.results)
        parts = []
        for status in (FAILED, ERROR):
            number = self.count(status)
            if number:
                parts.append(status if number == total == 1 else f"{number} of {total} {status}")
        if self.results and not parts:
            parts.append(OK if total == 1 else f"{total} ok")
        if self.missing:
            parts.append(f"{self.missing} missing")
        if self.retries:
            parts.append(f"{self.retries} retried")
        return ", ".join(parts)


@dataclass(slots=True)
class Summary:
    """A matrix. ``shard``: which part of its plan it is, (1, 1) for all of it."""

    name: str
    shard: tuple[int, int]
    kernels: list[str]
    boards: list[str]
    results: list[CaseResult]
    missing: list[str]

    def cells(self) -> dict[tuple[str, str], Cell]:
        """By kernel and board. A pair that the plan leaves out is not there."""
        found: dict[tuple[str, str], Cell] = {}
        for result in self.results:
            kernel, board, _ = result.name.split("/")
            found.setdefault((kernel, board), Cell()).results.append(result)
        for name in self.missing:
            kernel, board, _ = name.split("/")
            found.setdefault((kernel, board), Cell()).missing += 1
        return found

    def count(self, status: str) -> int:
        """Results of STATUS."""
        return sum(result.status == status for result in self.results)

    @property
    def retries(self) -> int:
        """Guests that died of emulation and were started again."""
        return sum(result.retries for result in self.results)

    @property
    def exit_status(self) -> int:
        """0: all as expected; 1: one is not; 4: one could not be told, or is missing."""
        if self.count(FAILED):
            return 1
        return 4 if self.count(ERROR) or self.missing else 0

    def to_json(self) -> dict[str, Any]:
        """As matrix.json has it."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "shard": list(self.shard),
            "counts": {
                "ok": self.count(OK),
                "failed": self.count(FAILED),
                "error": self.count(ERROR),
                "missing": len(self.missing),
                "retries": self.retries,
            },
            "cases": [result.to_json() for result in self.results],
            "missing": self.missing,
        }


def summarize(
    plan: Mapping[str, Any], results: Mapping[str, CaseResult], names: Iterable[str]
) -> Summary:
    """The summary of RESULTS by name; NAMES are the cases that there must be."""
    order = list(names)
    return Summary(
        plan["name"],
        (plan["shard"][0], plan["shard"][1]),
        list(plan["kernels"]),
        list(plan["boards"]),
        [results[name] for name in order if name in results],
        [name for name in order if name not in results],
    )


def collect(folder: MatrixFolder, names: Iterable[str]) -> dict[str, CaseResult]:
    """The results in FOLDER of the cases NAMES, as far as they are done. Raises BadInputError."""
    found = ((name, folder.result(name)) for name in names)
    return {name: result for name, result in found if result is not None}
