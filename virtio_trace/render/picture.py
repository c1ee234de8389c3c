# SPDX-License-Identifier: GPL-2.0-or-later
"""What a picture of the bindings shows, before it is drawn: devices in order of address, drivers in
the order in which the devices meet them, and the last attempt to bind each pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from virtio_trace.render.words import count, duration, result

BOUND, FAILED, PAST, BEFORE, OPEN = "bound", "failed", "past", "before", "open"
"""Looks of a link; see LEGEND."""

LEGEND = (
    (BOUND, "bound"),
    (BEFORE, "bound before the recording, or unseen"),
    (FAILED, "failed"),
    (OPEN, "did not return"),
    (PAST, "no longer bound"),
)

_GENERATIONS = 2


@dataclass(slots=True)
class Link:
    """A device's last attempt with ``driver``. ``words``: the function, a colon, the outcome."""

    driver: str
    words: str
    look: str


@dataclass(slots=True)
class DeviceBox:
    """A device. ``title`` is its name and type, ``place`` its address and transport; ``reason`` is
    why it is not bound, or ""; ``earlier`` counts the devices before it at its address that are
    not drawn; ``missing`` are the features that its last binding failed for."""

    key: str
    title: str
    place: str
    state: str
    reason: str
    earlier: int = 0
    links: list[Link] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DriverBox:
    """A driver. ``look`` is failed if its registration failed, past if it is unregistered."""

    name: str
    lines: list[str]
    look: str = BOUND


@dataclass(slots=True)
class Picture:
    """Devices and drivers, from the top down."""

    title: str
    summary: str
    devices: list[DeviceBox]
    drivers: list[DriverBox]


def picture(report: dict[str, Any]) -> Picture:
    """What to draw of REPORT (report.summary.summary)."""
    kernel = report["kernel"]
    devices = list(_devices(report))
    met = dict.fromkeys(link.driver for device in devices for link in device.links)
    known = {driver["name"]: _driver(driver) for driver in report["drivers"]}
    idle = sorted(known.keys() - met.keys())
    for name in idle:
        known[name].lines.append("no device")
    order = [*met, *idle]
    states: dict[str, int] = {}
    for device in devices:
        states[device.state] = states.get(device.state, 0) + 1
    parts = [f"{number} {state}" for state, number in states.items()]
    return Picture(
        f"VirtIO devices and drivers, kernel {kernel['release']} {kernel['machine']}",
        f"{count(len(devices), 'device')}: {', '.join(parts)}" if devices else "no device",
        devices,
        [known.get(name) or DriverBox(name, ["its registration was not seen"]) for name in order],
    )


def by_address(device: dict[str, Any]) -> tuple[str, int, str, int]:
    """The place of a report's DEVICE. An address of more digits is a higher one."""
    address = device["address"]
    return device["bus"], len(address), address, device["generation"]


def _devices(report: dict[str, Any]) -> Iterator[DeviceBox]:
    """Only the last two devices at an address: a device may be rebound a thousand times."""
    there: dict[str, list[dict[str, Any]]] = {}
    for device in sorted(report["devices"], key=by_address):
        there.setdefault(device["address"], []).append(device)
    links = _links(report)
    missing = {
        (one["device"], one["generation"]): [
            feature["name"] for feature in one["features"]["missing"]
        ]
        for one in report["bindings"]
    }
    for found in there.values():
        for device in found[-_GENERATIONS:]:
            key = device["address"], device["generation"]
            earlier = max(0, len(found) - _GENERATIONS) if device is not found[-1] else 0
            box = _device(device)
            box.earlier = earlier
            box.links = list(links.get(key, {}).values())
            box.missing = missing.get(key, []) if device["state"] == "failed" else []
            driver = device["driver"]
            if driver and all(link.driver != driver for link in box.links):
                since = "before the recording" if device["snapshot"] else "unseen"
                box.links.append(Link(driver, f"bound {since}", BEFORE))
            yield box


def _device(device: dict[str, Any]) -> DeviceBox:
    return DeviceBox(
        f"{device['address']}:{device['generation']}",
        f"{device['name'] or '?'}  {device['type'] or 'unknown type'}",
        f"{device['address']}  {device['transport']}",
        device["state"],
        device["reason"] or "",
    )


def _driver(driver: dict[str, Any]) -> DriverBox:
    module = f"[{driver['module']}]" if driver["module"] else ""
    lines = [
        line for line in ("built in" if driver["builtin"] else module, driver["probe"]) if line
    ]
    if driver["unregistered_ns"] is not None:
        return DriverBox(driver["name"], [*lines, "unregistered"], PAST)
    if driver["result"] not in (0, None):
        said = f"its registration returned {result(driver['result'])}"
        return DriverBox(driver["name"], [*lines, said], FAILED)
    return DriverBox(driver["name"], lines)


def _links(report: dict[str, Any]) -> dict[tuple[str, int], dict[str, Link]]:
    """By device, then by driver: the last attempt, and how many there were."""
    last: dict[tuple[str, int], dict[str, tuple[dict[str, Any], int]]] = {}
    for binding in report["bindings"]:
        mine = last.setdefault((binding["device"], binding["generation"]), {})
        name = binding["driver"] or "?"
        mine[name] = binding, mine[name][1] + 1 if name in mine else 1
    return {
        device: {name: _link(name, *found) for name, found in mine.items()}
        for device, mine in last.items()
    }


def _link(driver: str, binding: dict[str, Any], times: int) -> Link:
    function, value = binding["function"] or "virtio_dev_probe", binding["result"]
    if value is None:
        words, look = f"{function}: did not return", OPEN
    elif value == 0:
        words, look = f"{function}: 0, {duration(binding['duration_ns'])}", BOUND
    else:
        words, look = f"{function}: {result(value)}", FAILED
    if times > 1:
        words += f", {times} times"
    if binding["unbound_ns"] is not None:
        words, look = f"{words}, then unbound", PAST
    return Link(driver, words, look)


def shortened(lines: list[str], most: int) -> list[str]:
    """The first MOST of LINES, with an ellipsis for the rest."""
    if len(lines) <= most:
        return lines
    *head, last = lines[:most]
    words, _, cut = last.rstrip().rpartition(" ")
    if words and cut:
        return [*head, f"{words} …"]
    return [*head[:-1], f"{head[-1]} …"] if head else [f"{last[:-2]} …"]
