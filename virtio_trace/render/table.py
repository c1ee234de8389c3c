# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as tables: first and last in one line; what went wrong, in words; what there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from typing import Any, TextIO

from virtio_trace.recording.source import Source
from virtio_trace.render import report_features, report_rows
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import Cell, wrap
from virtio_trace.render.report_rows import STATES, block
from virtio_trace.render.words import Paint, count, plain, result
from virtio_trace.report.summary import stream

_Collected = tuple[dict[str, Any], "_Rows"]


def table(
    report: dict[str, Any],
    out: TextIO,
    width: int | None = None,
    paint: Paint = plain,
    *,
    verbose: bool = False,
    problems: bool = True,
) -> None:
    """Write REPORT (report.summary.summary) as tables for a terminal of WIDTH columns; None: any
    width. Times are in seconds since boot. Without PROBLEMS, it is
    a part of a check, which has what went wrong, and ends with its verdict."""
    rows = _Rows()
    for order, device in enumerate(report["devices"]):
        rows.device(order, device)
    for order, binding in enumerate(report["bindings"]):
        rows.binding(order, binding)
    show((report, rows), out, width, paint, verbose=verbose, problems=problems)


def collect(recording: Source) -> _Collected:
    """What :func:`show` shows of RECORDING. Raises BadInputError."""
    return stream(recording, _Rows)


def show(
    found: _Collected,
    out: TextIO,
    width: int | None = None,
    paint: Paint = plain,
    *,
    verbose: bool = False,
    problems: bool = True,
) -> None:
    """Write FOUND, a report and the rows of its devices and bindings, as tables. VERBOSE: a line
    for each feature, and all virtqueues."""
    report, rows = found
    drivers = [report_rows.driver_row(driver) for driver in report["drivers"]]
    shared = partial(block, width=width, paint=paint)
    boot = report["boot"] if report["recording"]["of_boot"] else None
    blocks = [
        _summary(report, rows, width),
        _problems(report, rows, width, paint) if problems else [],
        shared("DEVICES", report_rows.DEVICES, rows.devices()),
        rows.features(width, paint, verbose),
        shared("DRIVERS", report_rows.DRIVERS, drivers),
        shared("BINDINGS", report_rows.BINDINGS, rows.bindings()),
        report_rows.boot_share(boot, width, paint) if boot is not None else [],
        _summary(report, rows, width) if problems else [],
    ]
    gap = ""
    for lines in blocks:
        for line in lines:
            out.write(f"{gap}{line}\n")
            gap = ""
        gap = "\n"


class _Rows:
    """The rows of devices and bindings, and what went wrong with them (a Sink of a report)."""

    brief = True

    def __init__(self) -> None:
        self._devices: list[tuple[tuple[int, int], list[Cell]]] = []
        self._bindings: list[tuple[int, list[Cell]]] = []
        self._last: dict[str, tuple[int, dict[str, Any]]] = {}
        self._bound: dict[tuple[str, int], tuple[int, dict[str, Any]]] = {}
        self.states: Counter[str] = Counter()
        self._failures = _Reasons()
        self._differences = _Reasons()
        self._said = _Reasons()
        self._failed: set[tuple[str, int]] = set()
        self._unbound: list[tuple[int, str, int, str]] = []

    def device(self, order: int, device: dict[str, Any]) -> None:
        """Take DEVICE."""
        rank = report_rows.rank(device)
        self._devices.append(((rank, order), report_rows.device_row(device)))
        self.states[device["state"]] += 1
        address = device["address"]
        if order >= self._last.get(address, (-1, {}))[0]:
            self._last[address] = order, device
        if device["reason"]:
            self._unbound.append((order, address, device["generation"], device["reason"]))
        if device["log"]:
            self._said.add(order, address, device["log"]["message"])
        for differs in (device["host"] or {}).get("differs", ()):
            self._differences.add(order, f"{address} {differs['step']}", differs["message"])

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        """Take BINDING."""
        self._bindings.append((order, report_rows.binding_row(binding)))
        key = binding["device"], binding["generation"]
        if order >= self._bound.get(key, (-1, {}))[0]:
            self._bound.pop((key[0], key[1] - 1), None)
            self._bound[key] = order, binding
        if binding["reason"]:
            address = binding["device"]
            self._failures.add(order, f"{address} {binding['step']}", binding["reason"])
            self._failed.add((address, binding["generation"]))

    def devices(self) -> list[list[Cell]]:
        """The rows of the devices: those that failed first, otherwise in their order."""
        self._devices.sort(key=itemgetter(0))
        return [row for _, row in self._devices]

    def bindings(self) -> list[list[Cell]]:
        """The rows of the bindings, in their order."""
        self._bindings.sort(key=itemgetter(0))
        return [row for _, row in self._bindings]

    def features(self, width: int | None, paint: Paint, verbose: bool) -> Iterator[str]:
        """The features and virtqueues of the last device at each address, those that failed
        first. A device that is gone has none."""
        last = sorted(self._last.values(), key=lambda item: (report_rows.rank(item[1]), item[0]))
        title = paint(report_features.TITLE, "heading")
        for _, device in last:
            if device["state"] == "removed":
                continue
            _, binding = self._bound.get((device["address"], device["generation"]), (0, None))
            for line in report_features.lines(device, binding, width, paint, verbose):
                if title:
                    yield title
                    title = ""
                yield line

    def reasons(self) -> list[tuple[str, str, int]]:
        """What went wrong, to whom, and how often."""
        unbound = _Reasons()
        for order, address, generation, reason in self._unbound:
            if (address, generation) not in self._failed:
                unbound.add(order, address, reason)
        parts = self._failures, unbound, self._differences, self._said
        return [one for part in parts for one in part.all()]


class _Reasons:
    """Counts equal reasons."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, order: int, who: str, why: str) -> None:
        """Count one; those with the lowest ORDER come first."""
        first, times = self._found.get((who, why), (order, 0))
        self._found[who, why] = min(first, order), times + 1

    def all(self) -> list[tuple[str, str, int]]:
        """Who, why, and how often."""
        known = sorted(self._found.items(), key=lambda item: item[1][0])
        return [(who, why, times) for (who, why), (_, times) in known]


def _problems(
    report: dict[str, Any], rows: _Rows, width: int | None, paint: Paint
) -> Iterator[str]:
    """What went wrong, a line for each reason; equal lines are counted."""
    drivers = [
        (driver["name"], f"its registration returned {result(driver['result'])}", 1)
        for driver in report["drivers"]
        if driver["result"] not in (0, None)
    ]
    title = paint("PROBLEMS", "heading")
    for who, why, times in [*rows.reasons(), *drivers]:
        if title:
            yield title
            title = ""
        again = f", {times} times" if times > 1 else ""
        text = f"{escape(who)}: {escape(why)}{again}"
        first, *rest = wrap(text, None if width is None else width - 2)
        yield first
        yield from (f"  {line}" for line in rest)


def _summary(report: dict[str, Any], rows: _Rows, width: int | None) -> list[str]:
    recording, kernel, states = report["recording"], report["kernel"], rows.states
    devices = count(states.total(), "device")
    if states:
        devices += f" ({', '.join(f'{states[s]} {s}' for s in STATES if states[s])})"
    lost = f"{recording['lost']} lost" if recording["lost"] else "none lost"
    if recording["ended"] is None:
        lost += ", cut short"
    parts = [
        f"kernel {escape(kernel['release'])} {escape(kernel['machine'])}: {devices}",
        count(len(report["drivers"]), "driver"),
        count(len(rows.bindings()), "binding"),
        f"{count(recording['events'], 'event')}, {lost}",
    ]
    return wrap("; ".join(parts), width)
