# SPDX-License-Identifier: GPL-2.0-or-later
"""The features of a binding: offered, wanted, negotiated; the one that is missing is marked."""

from __future__ import annotations

from typing import Any, NamedTuple

from virtio_trace.render.page.collect import Page, Place
from virtio_trace.render.page.markup import Html, join, table, tag
from virtio_trace.render.words import count
from virtio_trace.virtio import features, numbers

_MUST = ("VIRTIO_F_VERSION_1", "VIRTIO_F_ACCESS_PLATFORM", "VIRTIO_F_ORDER_PLATFORM")
"""Features that a driver must, or should, accept when they are offered, and whose absence makes a
device refuse FEATURES_OK (VirtIO 6.1)."""

_REFUSED = "virtio_features_ok"


class Feature(NamedTuple):
    """A feature; None is unknown. ``missing``: the device refused the driver's features, and this
    is one that a device may insist on."""

    name: str
    offered: bool | None
    wanted: bool | None
    negotiated: bool | None
    missing: bool


def of(binding: dict[str, Any], written: list[str] | None) -> list[Feature]:
    """The features of BINDING, as the report has it. WRITTEN are those at the last FEATURES_OK."""
    known = binding.get("features") or {}
    offered, wanted = known.get("offered"), known.get("driver")
    taken = known.get("negotiated")
    if taken is None and binding["result"] not in (0, None):
        taken = written
    refused = _is_refused(binding)
    names = dict.fromkeys([*(offered or ()), *(wanted or ()), *(taken or ())])
    return [
        Feature(
            name,
            _has(offered, name),
            _has(wanted, name),
            _has(taken, name),
            refused and name in _MUST and bool(_has(offered, name)) and _has(taken, name) is False,
        )
        for name in names
    ]


def block(binding: dict[str, Any] | None, written: int | None, device: dict[str, Any]) -> Html:
    """The table of features of DEVICE's BINDING; WRITTEN as bits."""
    if binding is None:
        return Html()
    bits = None if written is None else features.names(device["id"], numbers.bits(written))
    found = of(binding, bits)
    if not found:
        return Html()
    rows = [
        [
            tag("code", one.name),
            _mark(one.offered),
            _mark(one.wanted),
            _mark(one.negotiated, one.missing),
            _words(one),
        ]
        for one in sorted(found, key=lambda one: not one.missing)
        if one.offered is not False
    ]
    last = "written, and refused" if _is_refused(binding) else "negotiated"
    shown = table(["feature", "offered", "wanted", last, ""], rows, class_="features")
    lack = [one.name for one in found if one.missing]
    said = tag("p", f"Missing: {', '.join(lack)}", class_="bad") if lack else ""
    absent = [one.name for one in found if one.offered is False]
    head = tag("h3", f"Features: {_count(found, last.split(',', maxsplit=1)[0])}")
    return join(head, said, shown, _absent(absent))


def missing(page: Page, place: Place) -> list[str]:
    """The features without which the device at PLACE refused its driver."""
    track = page.tracks.get(place.device["address"])
    if not place.own or track is None or track.written is None:
        return []
    names = features.names(place.device["id"], numbers.bits(track.written))
    return [one.name for one in of(place.own[-1], names) if one.missing]


def _absent(names: list[str]) -> Html:
    """What the driver knows, but the device does not offer: of less interest."""
    if not names:
        return Html()
    title = f"{count(len(names), 'feature')} of the driver's table that the device does not offer"
    return tag("details", tag("summary", title), tag("p", tag("code", ", ".join(names))))


def _is_refused(binding: dict[str, Any]) -> bool:
    """Whether the device refused the features that the driver wrote."""
    return binding["result"] not in (0, None) and _REFUSED in (binding["reason"] or "")


def _has(names: list[str] | None, name: str) -> bool | None:
    return None if names is None else name in names


def _count(found: list[Feature], last: str) -> str:
    """LAST: what the third number is called."""
    parts = []
    for what, word in (("offered", "offered"), ("wanted", "wanted"), ("negotiated", last)):
        known = [getattr(one, what) for one in found]
        number = "?" if all(one is None for one in known) else str(sum(map(bool, known)))
        parts.append(f"{number} {word}")
    return ", ".join(parts)


def _mark(has: bool | None, missing: bool = False) -> Html:
    if missing:
        return tag("span", "missing", class_="bad")
    if has is None:
        return tag("span", "?", class_="unsure")
    return tag("span", "yes", class_="good") if has else tag("span", "\u2013", class_="none")


def _words(one: Feature) -> str:
    if one.missing:
        return "the device insists on it"
    if one.offered and one.wanted and one.negotiated is False:
        return "given up by the driver"
    if one.offered and one.wanted is False and not one.negotiated:
        return "not in the driver's table"
    if one.negotiated and one.wanted is False:
        return "taken by the transport"
    return ""
