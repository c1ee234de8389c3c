# SPDX-License-Identifier: GPL-2.0-or-later
"""A lane of time for each device: its calls as bars, its status writes as stations; below, the
kernel's log on the same axis. Stretches in which nothing happened are left out."""

from __future__ import annotations

from collections.abc import Iterator

from virtio_trace.recording.machine_state import LogLine
from virtio_trace.render.page.axis import Axis
from virtio_trace.render.page.collect import (
    BIND,
    PROBE,
    REGISTER,
    TRANSPORT,
    Page,
    Place,
    Stretch,
    Write,
)
from virtio_trace.render.page.markup import Html, join, tag
from virtio_trace.render.page.summary import anchor, in_order
from virtio_trace.render.words import duration, result, seconds
from virtio_trace.virtio import numbers
from virtio_trace.virtio.numbers import Status

MOST = 60
"""Lanes; those of devices that are not bound come first if there are more."""
_MOST_LINES = 400
"""Lines of the log that are drawn."""

_WIDTH, _LEFT, _RIGHT, _LANE, _TOP = 1180, 250, 32, 26, 30
_NAME = 34
"""Characters of a lane's name that fit."""
_WORDS = {
    TRANSPORT: "transport's probe",
    REGISTER: "registration",
    BIND: "bus's probe",
    PROBE: "driver's probe",
}
_ERROR, _WARNING = 3, 4
"""Levels of the kernel's log (syslog(2))."""


def log_lines(page: Page) -> list[tuple[int, LogLine]]:
    """The kernel's log: the time of each line on the events' clock, and the line."""
    trailer = page.recording.trailer
    log = trailer.log if trailer is not None else None
    if log is None:
        return []
    return [(line.ns + (log.behind_ns or 0), line) for line in log.lines]


def lanes(page: Page) -> Html:
    """The drawing, with a legend; nothing if no device has an event."""
    places = [place for place in in_order(page) if place.device["address"] in page.tracks]
    if len(places) > MOST:
        places.sort(key=lambda one: one.device["state"] in ("bound", "removed"))
    shown, lines = places[:MOST], log_lines(page)[-_MOST_LINES:]
    intervals = list(_intervals(page, shown))
    if not intervals:
        return tag("p", "No event of a device was seen.")
    intervals += [(ns, ns) for ns, _ in lines]
    axis = Axis(intervals, _LEFT, _WIDTH - _LEFT - _RIGHT)
    bottom = _TOP + _LANE * (len(shown) + bool(lines))
    drawing = tag(
        "svg",
        *_frame(axis, bottom),
        *(_lane(page, place, number, axis) for number, place in enumerate(shown)),
        *(_log(lines, len(shown), axis) if lines else ()),
        viewBox=f"0 0 {_WIDTH} {bottom + 24}",
        class_="lanes",
        role="img",
        aria_label="Time of each device's calls and status writes",
    )
    parts = [tag("div", drawing, class_="scroll"), _legend(bool(lines))]
    if len(places) > MOST:
        said = f"{MOST} of {len(places)} lanes, devices that are not bound first."
        parts.append(tag("p", said, class_="capped"))
    return join(*parts)


def _intervals(page: Page, places: list[Place]) -> Iterator[tuple[int, int]]:
    for place in places:
        track = page.tracks[place.device["address"]]
        yield from ((one.start_ns, one.end_ns) for one in track.stretches)
        yield from ((one.ns, one.ns) for one in track.writes)


def _frame(axis: Axis, bottom: int) -> Iterator[Html]:
    """Ticks, and a mark where time is left out."""
    for x, ns in axis.ticks(90):
        yield tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=_TOP - 4, y2=bottom, class_="tick")
        yield tag("text", seconds(ns)[:-3], x=f"{x:.1f}", y=_TOP - 12, class_="time")
    for x, ns in axis.breaks():
        yield tag(
            "g",
            tag("title", f"nothing for {duration(ns)}"),
            tag("rect", x=f"{x - 8:.1f}", y=_TOP - 4, width=16, height=bottom - _TOP + 4),
            tag("text", "//", x=f"{x:.1f}", y=bottom + 14),
            class_="break",
        )


def _lane(page: Page, place: Place, number: int, axis: Axis) -> Html:
    device, y = place.device, _TOP + _LANE * number
    track = page.tracks[device["address"]]
    name = " ".join(filter(None, (device["name"], device["type"], device["address"])))
    label = tag("text", _short(name), x=_LEFT - 10, y=y + 17, class_=f"name {device['state']}")
    middle = y + _LANE / 2
    return tag(
        "g",
        tag(
            "a",
            tag("title", f"{name}: {device['state']}"),
            label,
            href=f"#{anchor(device['address'])}",
        ),
        tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=middle, y2=middle, class_="rail"),
        *(_bar(one, middle, axis) for one in sorted(track.stretches, key=_outermost)),
        *(_station(one, middle, axis) for one in track.writes),
    )


def _outermost(one: Stretch) -> tuple[int, int]:
    """Of bars on each other, the inner ones are drawn last."""
    return one.start_ns, -one.end_ns


def _bar(one: Stretch, middle: float, axis: Axis) -> Html:
    begin, end = axis.x(one.start_ns), axis.x(one.end_ns)
    tall = {TRANSPORT: 6, REGISTER: 10, BIND: 12, PROBE: 16}[one.kind]
    said = "did not return" if one.is_open else f"{result(one.result)}"
    took = duration(one.end_ns - one.start_ns)
    failed = one.result is not None and one.result < 0
    return tag(
        "rect",
        tag("title", f"{_WORDS[one.kind]} at {seconds(one.start_ns)} s: {said}, {took}"),
        x=f"{begin:.1f}",
        y=f"{middle - tall / 2:g}",
        width=f"{max(end - begin, 1.5):.1f}",
        height=tall,
        class_=f"bar {one.kind}{' failed' if failed else ''}{' open' if one.is_open else ''}",
    )


def _station(one: Write, middle: float, axis: Axis) -> Html:
    names = ", ".join(numbers.status_names(one.status)) or "reset"
    look = "bad" if one.status & (Status.FAILED | Status.NEEDS_RESET) else ""
    if one.status & Status.DRIVER_OK and not look:
        look = "good"
    return tag(
        "circle",
        tag("title", f"status 0x{one.status:02x} {names} at {seconds(one.ns)} s, event {one.seq}"),
        cx=f"{axis.x(one.ns):.1f}",
        cy=f"{middle:g}",
        r=3.5,
        class_=f"station {look}".rstrip(),
    )


def _log(lines: list[tuple[int, LogLine]], number: int, axis: Axis) -> Iterator[Html]:
    y = _TOP + _LANE * number
    yield tag("text", "kernel log", x=_LEFT - 10, y=y + 17, class_="name")
    for ns, line in lines:
        x = axis.x(ns)
        look = "bad" if line.level <= _ERROR else "unsure" if line.level == _WARNING else ""
        yield tag(
            "path",
            tag("title", f"{seconds(ns)} s: {line.text}"),
            d=f"M{x:.1f} {y + 4}v{_LANE - 8}",
            class_=f"log {look}".rstrip(),
        )


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _legend(has_log: bool) -> Html:
    keys = [tag("li", tag("i", class_=f"key {kind}"), word) for kind, word in _WORDS.items()]
    keys.append(tag("li", tag("i", class_="key station"), "status write"))
    keys.append(tag("li", tag("i", class_="key good"), "DRIVER_OK"))
    keys.append(tag("li", tag("i", class_="key bad"), "failed"))
    if has_log:
        keys.append(tag("li", tag("i", class_="key log"), "line of the kernel's log"))
    keys.append(tag("li", "// nothing happened; times in seconds since boot"))
    return tag("ul", *keys, class_="legend")
