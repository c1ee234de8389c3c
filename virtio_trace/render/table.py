# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as tables: devices, drivers, bindings; and what went wrong, in words."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, TextIO

from virtio_trace.render.escape import escape
from virtio_trace.render.grid import WIDTH, Cell, grid, wrap
from virtio_trace.render.words import Paint, count, duration, millis, plain, result, seconds
from virtio_trace.report.boot_time import PHASES
from virtio_trace.virtio import numbers

_STATES = {
    "bound": "good", "failed": "bad", "unbound": "unsure", "removed": "faint", "unknown": "unsure",
}  # fmt: skip
_ALIAS = re.compile(r"virtio:d([0-9A-F]{8})v")
_NONE = "-"


def table(
    report: dict[str, Any], out: TextIO, width: int | None = None, paint: Paint = plain
) -> None:
    """Write REPORT (report.summary.summarize) as tables. Times are in seconds since boot."""
    width = width or WIDTH
    blocks = [
        _block("DEVICES", _DEVICES, [_device(d) for d in report["devices"]], width, paint),
        _block("DRIVERS", _DRIVERS, [_driver(d) for d in report["drivers"]], width, paint),
        _block("BINDINGS", _BINDINGS, [_binding(b) for b in report["bindings"]], width, paint),
        _boot(report["boot"], width, paint),
        _reasons(report, width, paint),
        _summary(report, width),
    ]
    out.write("\n\n".join(block for block in blocks if block))
    out.write("\n")


def _block(title: str, heading: list[str], rows: list[list[Cell]], width: int, paint: Paint) -> str:
    if not rows:
        return ""
    return f"{paint(title, 'heading')}\n{grid(heading, rows, width, paint)}"


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


def _boot(boot: dict[str, Any] | None, width: int, paint: Paint) -> str:
    """Boot time in milliseconds. The columns of a row do not overlap: they add up to ``all``."""
    if boot is None:
        return ""
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
    lines = wrap("; ".join([sentence, *boot["notes"]]), width)
    title = "TIME SINCE BOOT ON THE VIRTIO PATH, IN MILLISECONDS"
    return "\n".join([_block(title, _BOOT, rows, width, paint), *lines])


def _took(device: dict[str, Any]) -> list[Cell]:
    own = {phase["name"]: phase["own_ns"] for phase in device["phases"]}
    return [
        device["device"],
        *(millis(own[name]) if name in own else _NONE for name in PHASES),
        millis(device["virtio_ns"]),
        f"{device['percent']:.2f} %",
    ]


def _reasons(report: dict[str, Any], width: int, paint: Paint) -> str:
    """What went wrong, a line for each reason; equal lines are counted."""
    reasons: Counter[tuple[str, str]] = Counter()
    for binding in report["bindings"]:
        if binding["reason"]:
            reasons[f"{binding['device']} {binding['step']}", binding["reason"]] += 1
    bound = {(b["device"], b["generation"]) for b in report["bindings"] if b["reason"]}
    for device in report["devices"]:
        if device["reason"] and (device["address"], device["generation"]) not in bound:
            reasons[device["address"], device["reason"]] += 1
    for device in report["devices"]:
        for differs in (device["host"] or {}).get("differs", ()):
            reasons[f"{device['address']} {differs['step']}", differs["message"]] += 1
    for driver in report["drivers"]:
        if driver["result"] not in (0, None):
            reasons[driver["name"], f"its registration returned {result(driver['result'])}"] += 1
    lines = []
    for (who, why), times in reasons.items():
        again = f", {times} times" if times > 1 else ""
        first, *rest = wrap(f"{escape(who)}: {escape(why)}{again}", width - 2)
        lines += [first, *(f"  {line}" for line in rest)]
    return "\n".join([paint("REASONS", "heading"), *lines]) if lines else ""


def _summary(report: dict[str, Any], width: int) -> str:
    recording, kernel = report["recording"], report["kernel"]
    states = Counter(device["state"] for device in report["devices"])
    devices = count(len(report["devices"]), "device")
    if states:
        devices += f" ({', '.join(f'{states[s]} {s}' for s in _STATES if states[s])})"
    lost = f"{recording['lost']} lost" if recording["lost"] else "none lost"
    if recording["ended"] is None:
        lost += ", cut short"
    parts = [
        f"kernel {escape(kernel['release'])} {escape(kernel['machine'])}: {devices}",
        count(len(report["drivers"]), "driver"),
        count(len(report["bindings"]), "binding"),
        f"{count(recording['events'], 'event')}, {lost}",
    ]
    return "\n".join(wrap("; ".join(parts), width))
