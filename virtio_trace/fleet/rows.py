# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of one recording, for each table of a lake (schema.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE, Result
from virtio_trace.fleet.schema import TABLES
from virtio_trace.fleet.wording import kernel_order, pattern
from virtio_trace.recording.source import Source
from virtio_trace.report.summary import summary

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
"""By table; a row has a value for each column."""


def rows(recording: Source, boot: str, source: str, recorded_at: datetime) -> Rows:
    """The rows of RECORDING. BOOT is its id, RECORDED_AT in UTC. Raises BadInputError."""
    report = summary(recording)
    result = verdict.judge(recording)
    common = boot, recorded_at.date(), recording.header.release
    types = {device["address"]: device["type"] for device in report["devices"]}
    numbered = [(*_device(one, types), number) for number, one in enumerate(report["bindings"])]
    found: dict[str, Iterator[Row]] = {
        "boots": iter([_boot(recording, report, result, source, recorded_at)]),
        "devices": _devices(report["devices"], result),
        "bindings": _bindings(report["bindings"], numbered),
        "steps": (
            (step.subject, types.get(step.subject), step.id, step.ok, step.before)
            for step in result.steps
        ),
        "findings": _findings(result, types),
        "features": _features(report["bindings"], numbered),
        "queues": _queues(report["bindings"], numbered),
        "phases": _phases(report["boot"], types),
    }
    return {table: [(*common, *row) for row in found[table]] for table in TABLES}


def _device(one: dict[str, Any], types: dict[str, str | None]) -> Row:
    return types.get(one["device"]), one["device"], one["generation"]


def _boot(
    recording: Source,
    report: dict[str, Any],
    result: Result,
    source: str,
    recorded_at: datetime,
) -> Row:
    header, known = recording.header, report["recording"]
    boot = report["boot"] or {}
    states = [device["state"] for device in report["devices"]]
    return (
        recorded_at,
        source,
        header.machine,
        kernel_order(header.release),
        header.tool,
        header.is_of_boot,
        known["events"],
        known["lost"],
        known["complete"],
        known["ended"],
        result.verdict,
        len(states),
        states.count("bound"),
        boot.get("until_ns"),
        boot.get("virtio_ns"),
    )


def _devices(devices: list[dict[str, Any]], result: Result) -> Iterator[Row]:
    wrong = {one.subject for one in result.findings if one.severity == ERROR}
    unknown = {step.subject for step in result.steps if step.ok is None}
    last = {device["address"]: device["generation"] for device in devices}
    for device in devices:
        address = device["address"]
        judged = CONFORMS
        if address in wrong:
            judged = DEVIATES
        elif address in unknown:
            judged = INCOMPLETE
        yield (
            device["type"],
            address,
            device["generation"],
            device["name"],
            device["bus"],
            device["transport"],
            device["vendor"],
            device["state"],
            device["driver"],
            device["reason"],
            judged,
            last[address] == device["generation"],
            device["registered_ns"],
            device["removed_ns"],
        )


_BINDING = "driver", "function", "result", "errno", "step", "reason", "interrupts"
_TIMES = "started_ns", "duration_ns", "unbound_ns"
_SETS = "offered", "driver", "negotiated"


def _bindings(bindings: list[dict[str, Any]], numbered: list[Row]) -> Iterator[Row]:
    for binding, first in zip(bindings, numbered, strict=True):
        sets = [binding["features"][name] for name in _SETS]
        counts = (None if one is None else len(one) for one in sets)
        own, times = (binding[name] for name in _BINDING), (binding[name] for name in _TIMES)
        yield (*first, *own, *counts, *times)


def _findings(result: Result, types: dict[str, str | None]) -> Iterator[Row]:
    for one in result.findings:
        yield (
            one.subject,
            types.get(one.subject),
            one.step,
            one.severity,
            one.message,
            pattern(one.message),
            one.before,
        )


def _features(bindings: list[dict[str, Any]], numbered: list[Row]) -> Iterator[Row]:
    for binding, first in zip(bindings, numbered, strict=True):
        sets = [binding["features"][name] for name in _SETS]
        names = dict.fromkeys(name for one in sets for name in one or ())
        for name in names:
            yield (*first, name, *(None if one is None else name in one for one in sets))


_QUEUE = "index", "name", "size", "vector", "interrupts", "completions"


def _queues(bindings: list[dict[str, Any]], numbered: list[Row]) -> Iterator[Row]:
    for binding, first in zip(bindings, numbered, strict=True):
        for queue in binding["queues"] or ():
            yield (*first, *(queue[name] for name in _QUEUE))


def _phases(boot: dict[str, Any] | None, types: dict[str, str | None]) -> Iterator[Row]:
    for one in boot["devices"] if boot else ():
        for phase in one["phases"]:
            yield (*_device(one, types), phase["name"], phase["own_ns"])
