# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of a report: their columns, and the cells of a device, a driver and a binding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from virtio_trace.render.escape import escape
from virtio_trace.render.grid import Cell, grid_lines, wrap
from virtio_trace.render.words import Paint, duration, millis, result, seconds
from virtio_trace.report.boot_time import PHASES
from virtio_trace.virtio import numbers

STATES = {
    "failed": "bad", "unbound": "unsure", "unknown": "unsure", "bound": "good", "removed": "faint",
}  # fmt: skip
"""The states of a device in the order in which they are shown, and their styles."""

_WARNED = ", warned"
"""After the state of a device that the kernel's log warns of."""

NONE = "-"

_ALIAS = re.compile(r"virtio:d([0-9A-F]{8})v")


class Columns(NamedTuple):
    """The headings of a table. ``spare`` are those that are left out where there is no room, the
    first one first; ``right`` those with numbers."""

    heading: Sequence[str]
    spare: Sequence[str] = ()
    right: Sequence[str] = ()


DEVICES = Columns(
    ("name", "address", "type", "transport", "state", "driver", "registered"),
    spare=("transport", "registered", "name"),
    right=("registered",),
)
DRIVERS = Columns(
    ("driver", "module", "for", "init function", "probe function", "registered"),
    spare=("init function", "module", "registered", "for"),
    right=("registered",),
)
BINDINGS = Columns(
    ("started", "device", "address", "driver", "probe function", "result", "took"),
    spare=("device", "probe function", "started"),
    right=("started", "took"),
)
_SHARES = ("transport", "register", "features", "probe", "find_vqs", "all", "of boot")
BOOT = Columns(("device", *_SHARES), spare=("of boot", "register", "find_vqs"), right=_SHARES)


def block(
    title: str, columns: Columns, rows: Iterable[list[Cell]], width: int | None, paint: Paint
) -> Iterator[str]:
    """A table under its TITLE; nothing without ROWS."""
    if rows:
        yield paint(title, "heading")
        yield from grid_lines(
            columns.heading, rows, width, paint, spare=columns.spare, right=columns.right
        )


def device_row(device: dict[str, Any]) -> list[Cell]:
    """The cells for DEVICES."""
    return [
        device["name"] or NONE,
        device["address"],
        device["type"] or NONE,
        device["transport"],
        _state(device),
        device["driver"] or NONE,
        _when(device),
    ]


def rank(device: dict[str, Any]) -> int:
    """The place of the device's state among those of others: what failed comes first."""
    state = device["state"]
    return 2 * [*STATES].index(state) - (device["log"] is not None)


def _state(device: dict[str, Any]) -> Cell:
    state = device["state"]
    return (f"{state}{_WARNED}", "unsure") if device["log"] else (state, STATES[state])


def driver_row(driver: dict[str, Any]) -> list[Cell]:
    """The cells for DRIVERS."""
    name: Cell = (driver["name"], "faint") if driver["unregistered_ns"] else driver["name"]
    when: Cell = _when(driver)
    if driver["unregistered_ns"] is not None:
        when = ("unregistered", "faint")
    elif driver["result"] not in (0, None):
        when = (result(driver["result"]), "bad")
    return [
        name,
        "built in" if driver["builtin"] else driver["module"] or NONE,
        _types(driver["matches"]),
        driver["init"] or NONE,
        driver["probe"] or NONE,
        when,
    ]


def binding_row(binding: dict[str, Any]) -> list[Cell]:
    """The cells for BINDINGS."""
    value = binding["result"]
    style = "unsure" if value is None else "good" if value == 0 else "bad"
    started = binding["started_ns"]
    return [
        NONE if started is None else seconds(started),
        binding["name"] or NONE,
        binding["device"],
        binding["driver"] or NONE,
        binding["symbol"] or NONE,
        (result(value), style),
        duration(binding["duration_ns"]),
    ]


def _when(thing: dict[str, Any]) -> str:
    if thing["registered_ns"] is not None:
        return seconds(thing["registered_ns"])
    return "before" if thing["snapshot"] else NONE


def _types(matches: list[str]) -> str:
    """Device types of aliases: ``virtio:d00000001v*`` is net, of any vendor."""
    found = [_ALIAS.match(alias) for alias in matches]
    names = [str(numbers.device_type(int(m[1], 16))) if m else "any" for m in found]
    return ", ".join(dict.fromkeys(names)) or NONE


def boot_share(boot: dict[str, Any], width: int | None, paint: Paint) -> Iterator[str]:
    """Boot time in milliseconds. The columns of a row do not overlap: they add up to ``all``."""
    rows: list[list[Cell]] = [_share(device) for device in boot["devices"]]
    blank = [""] * len(PHASES)
    if boot["drivers_ns"]:
        rows.append(["drivers", *blank, millis(boot["drivers_ns"]), ""])
    rows.append(["all", *blank, millis(boot["virtio_ns"]), f"{boot['percent']:.2f} %"])
    until, begun = boot["until"], boot["recorded_from_ns"]
    sentence = (
        f"{duration(boot['virtio_ns'])} of the {seconds(boot['until_ns'])} s from boot to "
        f"the return of {until['function']} for {until['device']} (event {until['event']})"
    )
    if begun is not None:
        sentence += f"; recorded from {seconds(begun)} s on"
    title = "TIME SINCE BOOT ON THE VIRTIO PATH, IN MILLISECONDS"
    yield from block(title, BOOT, rows, width, paint)
    yield from wrap(escape("; ".join([sentence, *boot["notes"]])), width)


def _share(device: dict[str, Any]) -> list[Cell]:
    own = {phase["name"]: phase["own_ns"] for phase in device["phases"]}
    return [
        device["device"],
        *(millis(own[name]) if name in own else NONE for name in PHASES),
        millis(device["virtio_ns"]),
        f"{device['percent']:.2f} %",
    ]
