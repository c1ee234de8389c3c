# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a summary, counted in plain Python from what report and check print.

It shares no code with virtio_trace/fleet: the oracle of test_summary.py.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from virtio_trace.cli.main import run

Rows = list[dict[str, Any]]


class Boot:
    """What the commands print about one recording."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        self.report = _printed("report", path, capsys)
        self.check = _printed("check", path, capsys)
        self.kernel: str = self.report["kernel"]["release"]
        self.types = {one["address"]: one["type"] for one in self.report["devices"]}

    def type_of(self, subject: str) -> str:
        return self.types.get(subject) or "-"

    def verdict_on(self, address: str) -> str:
        of_address = [one for one in self.check["findings"] if one["subject"] == address]
        if any(one["severity"] == "error" for one in of_address):
            return "deviates"
        steps = [one["ok"] for one in self.check["steps"] if one["subject"] == address]
        return "incomplete" if None in steps else "conforms"


def _printed(command: str, path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    run([command, str(path), "--format", "json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def quantile(values: list[int], share: float) -> int:
    """With linear interpolation between the two nearest values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def kernels(boots: list[Boot]) -> dict[str, Counter[str]]:
    """How many boots of each kernel have each verdict."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for boot in boots:
        found[boot.kernel][boot.check["verdict"].lower()] += 1
    return found


def types(boots: list[Boot]) -> Counter[tuple[str, str, str]]:
    """How many devices there are by type, kernel and verdict: the last ones at their addresses."""
    found: Counter[tuple[str, str, str]] = Counter()
    for boot in boots:
        for address, kind in boot.types.items():
            found[kind or "-", boot.kernel, boot.verdict_on(address)] += 1
    return found


def failing_steps(boots: list[Boot]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """By step and type: boots with a failure, failures, results."""
    failed: Counter[tuple[str, str]] = Counter()
    results: Counter[tuple[str, str]] = Counter()
    where = defaultdict(set)
    for boot in boots:
        for step in boot.check["steps"]:
            key = step["id"], boot.type_of(step["subject"])
            results[key] += 1
            if step["ok"] is False:
                failed[key] += 1
                where[key].add(boot.path)
    return {key: (len(where[key]), failed[key], results[key]) for key in failed}


def reasons(boots: list[Boot]) -> Counter[tuple[str, str, str]]:
    """How many findings there are by severity, step and type, apart from notes."""
    return Counter(
        (one["severity"], one["step"], boot.type_of(one["subject"]))
        for boot in boots
        for one in boot.check["findings"]
        if one["severity"] != "note" and not one.get("before")
    )


def features(boots: list[Boot], what: str) -> dict[tuple[str, str], dict[str, float]]:
    """By type and feature: the share of bindings of each kernel that have it."""
    of, having = Counter(), Counter()  # type: ignore[var-annotated]
    for boot in boots:
        for binding in boot.report["bindings"]:
            kind = boot.type_of(binding["device"])
            known = binding["features"][what]
            if known is not None:
                of[kind, boot.kernel] += 1
                having.update((kind, name, boot.kernel) for name in known)
    names = {(kind, name) for kind, name, _ in having}
    return {
        (kind, name): {
            kernel: round(having[kind, name, kernel] / number, 4)
            for (one, kernel), number in of.items()
            if one == kind
        }
        for kind, name in names
    }


def phases(boots: list[Boot]) -> dict[tuple[str, str], list[int]]:
    """By type and phase: every time, in nanoseconds."""
    found = defaultdict(list)
    for boot in boots:
        for device in (boot.report["boot"] or {"devices": []})["devices"]:
            for phase in device["phases"]:
                found[boot.type_of(device["device"]), phase["name"]].append(phase["own_ns"])
    return found
