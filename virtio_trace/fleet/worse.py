# SPDX-License-Identifier: GPL-2.0-or-later
"""What became worse since a date or a kernel: shares that rose, times that grew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from virtio_trace.check.findings import CONFORMS
from virtio_trace.errors import UsageError
from virtio_trace.fleet.engine import Tables, rows

_SHARE = 0.01
"""A share that rose by less is not worse."""

_LONGER = 1.2
"""A p95 that grew by a smaller factor is not worse."""

_FEW = 20
"""A p95 of fewer phases says nothing."""


@dataclass(frozen=True, slots=True)
class Since:
    """The boots from ``day`` on, or of ``kernel`` and later ones; one of both is None."""

    day: date | None = None
    kernel: str | None = None


def worse(tables: Tables, since: Since) -> dict[str, Any]:
    """What is worse in the boots of SINCE than in those before. Raises UsageError."""
    kernels = None if since.kernel is None else _kernels_from(tables, since.kernel)

    def later(table: Any) -> Any:
        return table.day >= since.day if kernels is None else table.kernel.isin(kernels)

    boots = tables["boots"]
    later_boots = later(boots)
    bad = boots.verdict != CONFORMS
    counts = rows(
        boots.aggregate(
            before=(~later_boots).sum(),
            since=later_boots.sum(),
            bad_before=(bad & ~later_boots).sum(),
            bad_since=(bad & later_boots).sum(),
        )
    )[0]
    before, after = counts["before"] or 0, counts["since"] or 0
    return {
        "since": since.kernel or (since.day.isoformat() if since.day else None),
        "boots_before": before,
        "boots_since": after,
        "not_conforming_before": _share(counts["bad_before"], before),
        "not_conforming_since": _share(counts["bad_since"], after),
        "steps": _steps(tables["steps"], later) if before and after else [],
        "phases": _phases(tables["phases"], later) if before and after else [],
    }


def _kernels_from(tables: Tables, kernel: str) -> list[str]:
    """KERNEL and the later ones in the lake. Raises UsageError."""
    known = rows(tables["boots"].select("kernel", "kernel_order").distinct())
    order = {row["kernel"]: row["kernel_order"] for row in known}
    if kernel not in order:
        there = ", ".join(sorted(order, key=lambda name: order[name]))
        raise UsageError(f"no boot of kernel {kernel} in the lake", f"there are: {there}")
    return sorted(name for name, place in order.items() if place >= order[kernel])


def _steps(steps: Any, later: Any) -> list[dict[str, Any]]:
    failed, since = ~steps.ok, later(steps)
    found = steps.group_by(["step", "type"]).aggregate(
        results_before=(~since).sum(),
        results_since=since.sum(),
        failed_before=(failed & ~since).sum(),
        failed_since=(failed & since).sum(),
    )
    made = []
    for row in rows(found):
        before = _share(row["failed_before"], row["results_before"])
        after = _share(row["failed_since"], row["results_since"])
        if before is not None and after is not None and after - before >= _SHARE:
            counted = {name: row[name] or 0 for name in ("failed_before", "failed_since")}
            made.append(
                {
                    "step": row["step"],
                    "type": row["type"],
                    **counted,
                    "before": before,
                    "since": after,
                }
            )
    return sorted(made, key=lambda row: (row["before"] - row["since"], row["step"], row["type"]))


def _phases(phases: Any, later: Any) -> list[dict[str, Any]]:
    phases = phases.mutate(since=later(phases))
    found = phases.group_by(["type", "phase", "since"]).aggregate(
        count=phases.count(), p95_ns=phases.own_ns.quantile(0.95)
    )
    sides: dict[tuple[str, str], dict[bool, dict[str, Any]]] = {}
    for row in rows(found):
        sides.setdefault((row["type"], row["phase"]), {})[row["since"]] = row
    made = []
    for (kind, phase), both in sides.items():
        if len(both) == 2 and min(row["count"] for row in both.values()) >= _FEW:
            before, after = round(both[False]["p95_ns"]), round(both[True]["p95_ns"])
            if before and after / before >= _LONGER:
                made.append(
                    {
                        "type": kind,
                        "phase": phase,
                        "p95_before_ns": before,
                        "p95_since_ns": after,
                        "ratio": round(after / before, 3),
                    }
                )
    return sorted(made, key=lambda row: (-row["ratio"], row["type"], row["phase"]))


def _share(part: int | None, whole: int | None) -> float | None:
    return round((part or 0) / whole, 4) if whole else None
