# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as tables: devices, drivers, bindings; and what went wrong, in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, TextIO

from virtio_trace.recording.source import Source
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import WIDTH, Cell, grid_lines, wrap
from virtio_trace.render.words import Paint, count, duration, millis, plain, result, seconds
from virtio_trace.report.boot_time import PHASES
from virtio_trace.report.summary import stream
from virtio_trace.virtio import numbers

_STATES = {
    "bound": "good", "failed": "bad", "unbound": "unsure", "removed": "faint", "unknown": "unsure",
}  # fmt: skip
_ALIAS = re.compile(r"virtio:d([0-9A-F]{8})v")
_NONE = "-"


def table(
    report: dict[str, Any], out: TextIO, width: int | None = None, paint: Paint = plain
) -> None:
    """Write REPORT (report.summary.summary) as tables. Times are in seconds since boot."""
    rows = _Rows()
    for order, device in enumerate(report["devices"]):
        rows.device(order, device)
    for order, binding in enumerate(report["bindings"]):
        rows.binding(order, binding)
    show((report, rows), out, width, paint)


def collect(recording: Source) -> tuple[dict[str, Any], _Rows]:
    """What :func:`show` shows of RECORDING. Raises BadInputError."""
    return stream(recording, _Rows)


def show(
    found: tuple[dict[str, Any], _Rows],
    out: TextIO,
    width: int | None = None,
    paint: Paint = plain,
) -> None:
    """Write FOUND, a report and the rows of its devices and bindings, as tables."""
    report, rows = found
    width = width or WIDTH
    drivers = [_driver(d) for d in report["drivers"]]
    blocks = [
        _block("DEVICES", _DEVICES, rows.devices(), width, paint),
        _block("DRIVERS", _DRIVERS, drivers, width, paint),
        _block("BINDINGS", _BINDINGS, rows.bindings(), width, paint),
        _boot(report["boot"], width, paint),
        _reasons(report, rows, width, paint),
        _summary(report, rows, width),
    ]
    gap = ""
    for block in blocks:
        for line in block:
            out.write(f"{gap}{line}\n")
            gap = ""
        gap = "\n"


class _Rows:
    """The rows of devices and bindings, and what went wrong with them (a Sink of a report)."""

    brief = True

    def __init__(self) -> None:
        self._devices: list[tuple[int, list[Cell]]] = []
        self._bindings: list[tuple[int, list[Cell]]] = []
        self.states: Counter[str] = Counter()
        self._failures = _Reasons()
        self._differences = _Reasons()
        self._failed: set[tuple[str, int]] = set()
        self._unbound: list[tuple[int, str, int, str]] = []

    def device(self, order: int, device: dict[str, Any]) -> None:
        """Take DEVICE."""
        self._devices.append((order, _device(device)))
        self.states[device["state"]] += 1
        address = device["address"]
        if device["reason"]:
            self._unbound.append((order, address, device["generation"], device["reason"]))
        for differs in (device["host"] or {}).get("differs", ()):
            self._differences.add(order, f"{address} {differs['step']}", differs["message"])

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        """Take BINDING."""
        self._bindings.append((order, _binding(binding)))
        if binding["reason"]:
            address = binding["device"]
            self._failures.add(order, f"{address} {binding['step']}", binding["reason"])
            self._failed.add((address, binding["generation"]))

    def devices(self) -> list[list[Cell]]:
        """The rows of the devices, in their order."""
        return _in_order(self._devices)

    def bindings(self) -> list[list[Cell]]:
        """The rows of the bindings, in their order."""
        return _in_order(self._bindings)

    def reasons(self) -> list[tuple[str, str, int]]:
        """What went wrong, to whom, and how often."""
        unbound = _Reasons()
        for order, address, generation, reason in self._unbound:
            if (address, generation) not in self._failed:
                unbound.add(order, address, reason)
        return [*self._failures.all(), *unbound.all(), *self._differences.all()]


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


def _in_order(rows: list[tuple[int, list[Cell]]]) -> list[list[Cell]]:
    rows.sort(key=itemgetter(0))
    return [row for _, row in rows]


def _block(
    title: str, heading: list[str], rows: list[list[Cell]], width: int, paint: Paint
) -> Iterator[str]:
    if rows:
        yield paint(title, "heading")
        yield from grid_lines(heading, rows, width, paint)


_DEVICES = ["name", "address", "type", "transport", "state", "driver", "registered"]


def _device(device: dict[str, Any]) -> list[Cell]:
    return [
        device["name"] or _NONE,
        device["address"],
        device["type"] or _NONE,
        device["transport"],
        (device["state"], _STATES[device["state"]]),
        device["driver"] or _NONE,
        _when(device),
    ]


_DRIVERS = ["driver", "module", "for", "init function", "probe function", "registered"]


def _driver(driver: dict[str, Any]) -> list[Cell]:
    name: Cell = (driver["name"], "faint") if driver["unregistered_ns"] else driver["name"]
    when: Cell = _when(driver)
    if driver["unregistered_ns"] is not None:
        when = ("unregistered", "faint")
    elif driver["result"] not in (0, None):
        when = (result(driver["result"]), "bad")
    return [
        name,
        "built in" if driver["builtin"] else driver["module"] or _NONE,
        _types(driver["matches"]),
        driver["init"] or _NONE,
        driver["probe"] or _NONE,
        when,
    ]


_BINDINGS = ["started", "device", "address", "driver", "probe function", "result", "took"]


def _binding(binding: dict[str, Any]) -> list[Cell]:
    value = binding["result"]
    style = "unsure" if value is None else "good" if value == 0 else "bad"
    started = binding["started_ns"]
    return [
        _NONE if started is None else seconds(started),
        binding["name"] or _NONE,
        binding["device"],
        binding["driver"] or _NONE,
        binding["symbol"] or _NONE,
        (result(value), style),
        duration(binding["duration_ns"]),
    ]


def _when(thing: dict[str, Any]) -> str:
    if thing["registered_ns"] is not None:
        return seconds(thing["registered_ns"])
    return "before" if thing["snapshot"] else _NONE


def _types(matches: list[str]) -> str:
    """Device types of aliases: ``virtio:d00000001v*`` is net, of any vendor."""
    found = [_ALIAS.match(alias) for alias in matches]
    names = [str(numbers.device_type(int(m[1], 16))) if m else "any" for m in found]
    return ", ".join(dict.fromkeys(names)) or _NONE


_BOOT = ["device", "transport", "register", "features", "probe", "find_vqs", "all", "of boot"]


def _boot(boot: dict[str, Any] | None, width: int, paint: Paint) -> Iterator[str]:
    """Boot time in milliseconds. The columns of a row do not overlap: they add up to ``all``."""
    if boot is None:
        return
    rows: list[list[Cell]] = [_took(device) for device in boot["devices"]]
    blank = [""] * len(PHASES)
    if boot["drivers_ns"]:
        rows.append(["drivers", *blank, millis(boot["drivers_ns"]), ""])
    rows.append(["all", *blank, millis(boot["virtio_ns"]), f"{boot['percent']:.2f} %"])
    until, begun = boot["until"], boot["recorded_from_ns"]
    sentence = (
        f"{duration(boot['virtio_ns'])} of the {seconds(boot['until_ns'])} s from boot to "
        f"the return of {escape(until['function'])} for {escape(until['device'])} "
        f"(event {until['event']})"
    )
    if begun is not None:
        sentence += f"; recorded from {seconds(begun)} s on"
    title = "TIME SINCE BOOT ON THE VIRTIO PATH, IN MILLISECONDS"
    yield from _block(title, _BOOT, rows, width, paint)
    yield from wrap("; ".join([sentence, *boot["notes"]]), width)


def _took(device: dict[str, Any]) -> list[Cell]:
    own = {phase["name"]: phase["own_ns"] for phase in device["phases"]}
    return [
        device["device"],
        *(millis(own[name]) if name in own else _NONE for name in PHASES),
        millis(device["virtio_ns"]),
        f"{device['percent']:.2f} %",
    ]


def _reasons(report: dict[str, Any], rows: _Rows, width: int, paint: Paint) -> Iterator[str]:
    """What went wrong, a line for each reason; equal lines are counted."""
    drivers = [
        (driver["name"], f"its registration returned {result(driver['result'])}", 1)
        for driver in report["drivers"]
        if driver["result"] not in (0, None)
    ]
    title = paint("REASONS", "heading")
    for who, why, times in [*rows.reasons(), *drivers]:
        if title:
            yield title
            title = ""
        again = f", {times} times" if times > 1 else ""
        first, *rest = wrap(f"{escape(who)}: {escape(why)}{again}", width - 2)
        yield first
        yield from (f"  {line}" for line in rest)


def _summary(report: dict[str, Any], rows: _Rows, width: int) -> list[str]:
    recording, kernel, states = report["recording"], report["kernel"], rows.states
    devices = count(states.total(), "device")
    if states:
        devices += f" ({', '.join(f'{states[s]} {s}' for s in _STATES if states[s])})"
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
