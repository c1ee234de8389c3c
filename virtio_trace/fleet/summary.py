# SPDX-License-Identifier: GPL-2.0-or-later
"""The summary of a lake as plain data (``fleet summary --format json``; docs/fleet.md).

Each query is an expression of Ibis, written once; engine.py has the engines. What a query returns
is small: the number of groups does not grow with the number of boots.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE, NOTE
from virtio_trace.fleet.engine import Tables, rows
from virtio_trace.fleet.worse import Since, worse

SCHEMA = "virtio-trace/fleet/1"

NO_TYPE = "-"
"""The type of a subject that is no device. NULL would be another group for each engine's join."""

_SPREAD = 0.05
"""Shares of two kernels that differ by less are the same."""

_FAR = 3
"""Interquartile ranges above the third quartile from which on a time is an outlier (Tukey)."""

Rows = list[dict[str, Any]]


def summarize(tables: Tables, top: int, since: Since | None = None) -> dict[str, Any]:
    """The summary of TABLES; rankings have TOP rows at most. SINCE: what became worse. Raises
    UsageError if SINCE is a kernel that the lake does not have."""
    tables = {
        name: table.mutate(type=table.type.fill_null(NO_TYPE)) if "type" in table.columns else table
        for name, table in tables.items()
    }
    return {
        "schema": SCHEMA,
        "boots": _boots(tables),
        "kernels": _kernels(tables),
        "types": _types(tables),
        "failing_steps": _failing_steps(tables, top),
        "reasons": _reasons(tables, top),
        "features": _features(tables),
        "phases": _phases(tables),
        "outliers": _outliers(tables, top),
        "worse": None if since is None else worse(tables, since),
    }


def _judged(table: Any) -> dict[str, Any]:
    """How many rows of TABLE have each verdict."""
    return {
        verdict.lower(): (table.verdict == verdict).sum()
        for verdict in (CONFORMS, DEVIATES, INCOMPLETE)
    }


def _seen(table: Any, where: Any = None) -> dict[str, Any]:
    return {"first_seen": table.day.min(where=where), "last_seen": table.day.max(where=where)}


def _boots(tables: Tables) -> dict[str, Any]:
    boots = tables["boots"]
    found = boots.aggregate(boots=boots.count(), **_judged(boots), **_seen(boots))
    return _plain(rows(found))[0]


def _kernels(tables: Tables) -> Rows:
    boots = tables["boots"]
    found = boots.group_by(["kernel", "kernel_order", "machine"]).aggregate(
        boots=boots.count(), **_judged(boots), **_seen(boots)
    )
    ordered = sorted(rows(found), key=lambda row: (row["kernel_order"], row["machine"]))
    return _plain([_without(row, "kernel_order") for row in ordered])


def _types(tables: Tables) -> Rows:
    devices = tables["devices"].filter(tables["devices"].latest)
    found = devices.group_by(["type", "kernel"]).aggregate(
        devices=devices.count(), bound=(devices.state == "bound").sum(), **_judged(devices)
    )
    return sorted(rows(found), key=lambda row: (row["type"], row["kernel"]))


def _failing_steps(tables: Tables, top: int) -> Rows:
    steps = tables["steps"]
    failed = ~steps.ok
    found = steps.group_by(["step", "type"]).aggregate(
        boots=steps.boot.nunique(where=failed),
        failed=failed.sum(),
        results=steps.count(),
        kernels=steps.kernel.nunique(where=failed),
        **_seen(steps, failed),
    )
    ranked = [row for row in rows(found) if row["failed"]]
    ranked.sort(key=lambda row: (-row["boots"], row["step"], row["type"]))
    return _plain(ranked[:top])


def _reasons(tables: Tables, top: int) -> Rows:
    findings = tables["findings"]
    findings = findings.filter((findings.severity != NOTE) & ~findings.before)
    keys = ["severity", "step", "type", "pattern"]
    found = findings.group_by(keys).aggregate(
        boots=findings.boot.nunique(),
        findings=findings.count(),
        kernels=findings.kernel.nunique(),
        **_seen(findings),
    )
    is_error = (found.severity == ERROR).cast("int64")
    found = found.order_by([is_error.desc(), found.boots.desc(), *(found[key] for key in keys)])
    return _plain(rows(found.limit(top)))


def _features(tables: Tables) -> Rows:
    """The features whose share of bindings differs between kernels."""
    bindings, features = tables["bindings"], tables["features"]
    bound = bindings.group_by(["type", "kernel"]).aggregate(
        offered=bindings.offered.count(),
        driver=bindings.wanted.count(),
        negotiated=bindings.negotiated.count(),
    )
    having = features.group_by(["type", "kernel", "feature"]).aggregate(
        offered=features.offered.sum(),
        driver=features.driver.sum(),
        negotiated=features.negotiated.sum(),
    )
    known = {(row["type"], row["kernel"]): row for row in rows(bound)}
    counts = {(row["type"], row["feature"], row["kernel"]): row for row in rows(having)}
    names = sorted({(kind, feature) for kind, feature, _ in counts})
    found = []
    for kind, feature in names:
        of_type = {kernel: row for (one, kernel), row in known.items() if one == kind}
        for what in ("offered", "driver", "negotiated"):
            shares = {
                kernel: round(
                    (counts.get((kind, feature, kernel), {}).get(what) or 0) / row[what], 4
                )
                for kernel, row in sorted(of_type.items())
                if row[what]
            }
            spread = round(max(shares.values(), default=0) - min(shares.values(), default=0), 4)
            if spread >= _SPREAD:
                found.append(
                    {
                        "type": kind,
                        "feature": feature,
                        "what": what,
                        "spread": spread,
                        "kernels": shares,
                    }
                )
    return sorted(found, key=lambda row: (row["type"], -row["spread"], row["feature"], row["what"]))


def _phases(tables: Tables) -> Rows:
    phases = tables["phases"]
    found = phases.group_by(["type", "phase"]).aggregate(
        count=phases.count(),
        p50_ns=phases.own_ns.quantile(0.5),
        p95_ns=phases.own_ns.quantile(0.95),
        p99_ns=phases.own_ns.quantile(0.99),
        max_ns=phases.own_ns.max(),
    )
    made = [
        row | {name: round(row[name]) for name in ("p50_ns", "p95_ns", "p99_ns")}
        for row in rows(found)
    ]
    return sorted(made, key=lambda row: (row["type"], row["phase"]))


def _outliers(tables: Tables, top: int) -> Rows:
    """The phases that took far longer than is usual for the type."""
    phases, boots = tables["phases"], tables["boots"]
    usual = phases.group_by(["type", "phase"]).aggregate(
        p25=phases.own_ns.quantile(0.25),
        p50=phases.own_ns.quantile(0.5),
        p75=phases.own_ns.quantile(0.75),
    )
    joined = phases.join(usual, ["type", "phase"])
    far = joined.filter(
        (joined.own_ns > joined.p75 + _FAR * (joined.p75 - joined.p25)) & (joined.p50 > 0)
    )
    far = far.mutate(ratio=far.own_ns / far.p50)
    order = [far.ratio.desc(), far.boot, far.address, far.generation, far.phase]
    far = far.order_by(order).limit(top)
    named = far.join(boots.select("boot", "source"), ["boot"])
    columns = ["type", "phase", "ratio", "own_ns", "p50", "kernel", "day", "address", "source"]
    made = [
        row | {"ratio": round(row["ratio"], 2), "p50_ns": round(row.pop("p50"))}
        for row in rows(named.select(*columns))
    ]
    return _plain(sorted(made, key=lambda row: (-row["ratio"], row["source"], row["address"])))


def _plain(found: Rows) -> Rows:
    """Dates as text, for JSON."""
    return [
        {name: str(value) if isinstance(value, date) else value for name, value in row.items()}
        for row in found
    ]


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
