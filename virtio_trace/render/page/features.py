# SPDX-License-Identifier: GPL-2.0-or-later
"""The features of a binding: offered, wanted, negotiated; the one that is missing is marked."""

from __future__ import annotations

from typing import Any, NamedTuple

from virtio_trace.render.page.collect import Place
from virtio_trace.render.page.markup import Html, join, table, tag
from virtio_trace.render.words import count


class Feature(NamedTuple):
    """A feature; None is unknown. ``missing``: why the binding that failed needs it, or ""."""

    name: str
    offered: bool | None
    wanted: bool | None
    negotiated: bool | None
    missing: str


def of(binding: dict[str, Any]) -> list[Feature]:
    """The features of BINDING, as the report has it. Without negotiated ones, those that were
    written are taken for them."""
    known = binding["features"]
    offered, wanted = known["offered"], known["driver"]
    taken = known["written"] if known["negotiated"] is None else known["negotiated"]
    lack = {one["name"]: one["why"] for one in known["missing"]}
    names = dict.fromkeys([*lack, *(offered or ()), *(wanted or ()), *(taken or ())])
    return [
        Feature(
            name, _has(offered, name), _has(wanted, name), _has(taken, name), lack.get(name, "")
        )
        for name in names
    ]


def block(binding: dict[str, Any] | None, device: dict[str, Any]) -> Html:
    """The table of features of DEVICE's BINDING; without one, what sysfs shows."""
    found = of(binding) if binding is not None else []
    if binding is None or not found:
        return _by_sysfs(device)
    rows = [
        [
            tag("code", one.name),
            _mark(one.offered),
            _mark(one.wanted),
            _mark(one.negotiated, bool(one.missing)),
            _words(one),
        ]
        for one in found
        if one.offered is not False or one.missing
    ]
    known = binding["features"]
    is_written = known["negotiated"] is None and known["written"] is not None
    last = "written" if is_written else "negotiated"
    shown = table(["feature", "offered", "wanted", last, ""], rows, class_="features")
    lack = [one.name for one in found if one.missing]
    said = tag("p", f"Missing: {', '.join(lack)}", class_="bad") if lack else ""
    absent = [one.name for one in found if one.offered is False and not one.missing]
    head = tag("h3", f"Features: {_count(found, last)}")
    return join(head, said, shown, _absent(absent))


def missing(place: Place) -> list[str]:
    """The features that the last binding of the device at PLACE lacks."""
    return [one["name"] for one in place.own[-1]["features"]["missing"]] if place.own else []


def _by_sysfs(device: dict[str, Any]) -> Html:
    """What was negotiated before the recording began."""
    shown = device["in_sysfs"]
    if shown is None or shown["features"] is None:
        return Html()
    head = tag("h3", f"Features: {len(shown['features'])} negotiated, by sysfs")
    return join(head, tag("p", tag("code", ", ".join(shown["features"]))))


def _absent(names: list[str]) -> Html:
    """What the driver knows, but the device does not offer: of less interest."""
    if not names:
        return Html()
    title = f"{count(len(names), 'feature')} of the driver's table that the device does not offer"
    return tag("details", tag("summary", title), tag("p", tag("code", ", ".join(names))))


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
        return one.missing
    if one.offered and one.wanted and one.negotiated is False:
        return "given up by the driver"
    if one.offered and one.wanted is False and not one.negotiated:
        return "not in the driver's table"
    if one.negotiated and one.wanted is False:
        return "kept by the VirtIO core"
    return ""
