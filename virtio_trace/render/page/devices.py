# SPDX-License-Identifier: GPL-2.0-or-later
"""A part for each device: its status writes as stations, features, virtqueues, the host's view."""

from __future__ import annotations

from typing import Any

from virtio_trace.render.page import features
from virtio_trace.render.page.collect import Page, Place, Track, Write
from virtio_trace.render.page.markup import Html, join, table, tag
from virtio_trace.render.page.summary import anchor, in_order
from virtio_trace.render.report_features import INTERRUPTS
from virtio_trace.render.words import count, duration, result, seconds
from virtio_trace.virtio import numbers
from virtio_trace.virtio.numbers import Status

MOST = 100
"""Devices with a part of their own; those that are not bound come first if there are more."""
_OPEN = 6
"""Up to so many parts are open, and otherwise those of devices that are not bound."""
_STATIONS = 12
_COUNTS = ("interrupts", "completions")
_WAY = (Status.ACKNOWLEDGE, Status.DRIVER, Status.FEATURES_OK, Status.DRIVER_OK)


def devices(page: Page) -> Html:
    """All parts."""
    places = in_order(page)
    shown = sorted(places, key=_is_fine)[:MOST] if len(places) > MOST else places
    parts = [_device(page, place, len(places) <= _OPEN) for place in shown]
    if len(places) > MOST:
        said = f"{MOST} of {len(places)} devices, those that are not bound first."
        parts.append(tag("p", f"{said} virtio-trace report has all.", class_="capped"))
    return join(*parts) if parts else tag("p", "No device was seen.")


def _is_fine(place: Place) -> bool:
    return place.device["state"] in ("bound", "removed")


def _device(page: Page, place: Place, is_open: bool) -> Html:
    device = place.device
    track = page.tracks.get(device["address"], Track())
    binding = place.own[-1] if place.own else None
    head = tag(
        "summary",
        tag("strong", device["name"] or "?"),
        f" {device['type'] or 'unknown type'} ",
        tag("code", device["address"]),
        f" {device['transport']} ",
        tag("span", device["state"], class_=f"state {device['state']}"),
        f" {' '.join(filter(None, (device['driver'], *device['carries'])))}",
    )
    parts = [
        tag("p", device["reason"], class_="why") if device["reason"] else "",
        tag("p", device["log"]["message"], class_="why") if device["log"] else "",
        tag("p", _life(place)),
        _stations(track, device["state"]),
        _attempts(place.own),
        features.block(binding, device),
        _queues(binding, device["host"]),
        _host(device, binding, track),
    ]
    return tag(
        "details",
        head,
        *parts,
        id=anchor(device["address"]),
        class_="device",
        open=is_open or not _is_fine(place),
    )


def _life(place: Place) -> str:
    device = place.device
    when = "there before the recording" if device["snapshot"] else "its registration was not seen"
    if device["registered_ns"] is not None:
        when = f"registered at {seconds(device['registered_ns'])} s"
    if device["removed_ns"] is not None:
        when += f", removed at {seconds(device['removed_ns'])} s"
    if place.earlier:
        when += f"; {count(place.earlier, 'other device')} before it at this address"
    return f"{when[0].upper()}{when[1:]}."


def _stations(track: Track, state: str) -> Html:
    """The status writes in their order, and the bits that were never set."""
    writes = list(track.writes)[-_STATIONS:]
    if not writes:
        return Html()
    stops, before = [], None
    for write in writes:
        stops.append(_station(write, before))
        before = write
    last = writes[-1].status
    if state != "bound" and last:
        stops += [
            tag("li", tag("b", str(bit.name)), tag("small", "not set"), class_="missed")
            for bit in _WAY
            if not last & bit
        ]
    said = f"the last {_STATIONS}" if len(track.writes) > _STATIONS else "in order"
    return join(tag("h3", f"Status writes, {said}"), tag("ol", *stops, class_="stations"))


def _station(write: Write, before: Write | None) -> Html:
    new = write.status & ~(before.status if before is not None else 0)
    names = numbers.status_names(new) or (["reset"] if not write.status else ["no new bit"])
    when = f"{seconds(write.ns)} s" if before is None else f"+{duration(write.ns - before.ns)}"
    look = "failed" if write.status & (Status.FAILED | Status.NEEDS_RESET) else "reached"
    words = ", ".join(numbers.status_names(write.status)) or "reset"
    return tag(
        "li",
        tag("b", " ".join(names)),
        tag("small", f"0x{write.status:02x}, {when}"),
        class_=look if write.status else "reset",
        title=f"event {write.seq} at {seconds(write.ns)} s: {words}",
    )


def _attempts(bindings: list[dict[str, Any]]) -> Html:
    rows = [
        [
            "?" if one["started_ns"] is None else f"{seconds(one['started_ns'])} s",
            one["driver"] or "?",
            one["symbol"] or "not reached",
            _outcome(one),
            tag("td", duration(one["duration_ns"]), class_="number"),
            tag("td", _phases(one), class_="wide"),
        ]
        for one in bindings
    ]
    heading = ["started", "driver", "probe function", "result", "took", "phases"]
    return table(heading, rows, "Bindings") if rows else Html()


def _phases(binding: dict[str, Any]) -> Html:
    """Each with its duration, which a line's end does not part from its unit."""
    known = binding.get("phases") or ()
    said = [f"{one['name']} {duration(one['duration_ns'])}" for one in known]
    last = len(said) - 1
    return join(
        *(
            join(tag("span", text + ("," if number < last else "")), " ")
            for number, text in enumerate(said)
        )
    )


def _outcome(binding: dict[str, Any]) -> Html:
    value = binding["result"]
    look = "unsure" if value is None else "bad" if value else "good"
    said = "did not return" if value is None else result(value)
    if binding["unbound_ns"] is not None:
        said += f", unbound at {seconds(binding['unbound_ns'])} s"
    return tag("span", said, class_=look)


def _queues(binding: dict[str, Any] | None, host: dict[str, Any] | None) -> Html:
    """The virtqueues as they were set up, beside the sizes that the host has."""
    queues = (binding or {}).get("queues")
    if not queues:
        return Html()
    theirs = {one["index"]: one["size"] for one in host["queues"]} if host else None
    counted = [what for what in _COUNTS if any(one.get(what) is not None for one in queues)]
    rows = []
    for queue in queues:
        vector = queue["vector"]
        row = [
            str(queue["index"]),
            queue["name"] or "?",
            "?" if queue["size"] is None else str(queue["size"]),
            "none" if vector is None else str(vector),
            *("?" if queue[what] is None else f"{queue[what]:,}" for what in counted),
        ]
        if theirs is not None:
            size = theirs.get(queue["index"])
            differs = size != queue["size"]
            row.append(tag("span", str(size or "not set up"), class_="bad" if differs else "good"))
        rows.append(row)
    heading = [
        "queue",
        "name",
        "size",
        "vector",
        *counted,
        *(["size on the host"] if theirs is not None else []),
    ]
    interrupts = (binding or {}).get("interrupts")
    caption = f"Virtqueues{f', {INTERRUPTS.get(interrupts, interrupts)}' if interrupts else ''}"
    return table(heading, rows, caption)


def _host(device: dict[str, Any], binding: dict[str, Any] | None, track: Track) -> Html:
    """The guest's view beside the host's."""
    host = device["host"]
    if host is None:
        return Html()
    ours = track.writes[-1].status if track.writes else None
    theirs = host["status"]["value"] if host["status"] is not None else None
    mine = (binding or {}).get("features") or {}
    rows = [
        ["status", _status(ours), _status(theirs)],
        ["features", _features(mine.get("negotiated")), _features(host["features"])],
        ["virtqueues", _number((binding or {}).get("queues")), _number(host["queues"])],
    ]
    differs = [tag("li", f"{one['step']}: {one['message']}") for one in host["differs"]]
    return join(
        table(["", "guest", "host"], rows, f"The guest's view and the host's, {host['path']}"),
        tag("ul", *differs, class_="findings error") if differs else "",
    )


def _status(value: int | None) -> str:
    if value is None:
        return "?"
    return f"0x{value:02x} {' '.join(numbers.status_names(value)) or 'reset'}"


def _features(names: list[str] | None) -> Html:
    if names is None:
        return tag("span", "?")
    return tag("details", tag("summary", count(len(names), "feature")), tag("p", ", ".join(names)))


def _number(queues: list[dict[str, Any]] | None) -> str:
    return "?" if queues is None else str(len(queues))
