# SPDX-License-Identifier: GPL-2.0-or-later
"""The features of a binding: offered, wanted, negotiated; the one that is missing is marked."""

from __future__ import annotations

from typing import Any

from virtio_trace.render.page.collect import Place
from virtio_trace.render.page.markup import Html, join, table, tag
from virtio_trace.render.words import count
from virtio_trace.report import feature_sets as fs
from virtio_trace.report.feature_sets import FeatureSets, is_kept_by_core

_WORDS = {
    fs.GIVEN_UP: "given up: wanted, and not written",
    fs.NOT_WANTED: "not in the driver's table",
}
"""What an outcome is, where the marks do not say it."""


def block(binding: dict[str, Any] | None, device: dict[str, Any]) -> Html:
    """The table of features of DEVICE's BINDING; without one, what sysfs shows."""
    sets = FeatureSets(binding) if binding is not None else None
    if sets is None or not [*sets]:
        return _by_sysfs(device)
    absent = sets.those(fs.NOT_OFFERED)
    last = "written" if sets.is_written and not sets.is_negotiated else "negotiated"
    rows = [
        [
            tag("code", name),
            _mark((name in sets.offered) if sets.is_offer_known else None),
            _wanted(sets, name),
            _taken(sets, name),
            sets.missing.get(name) or _WORDS.get(sets.outcome(name), ""),
        ]
        for name in [*sets.missing, *(name for name in sets if name not in sets.missing)]
        if name not in absent
    ]
    shown = table(["feature", "offered", "wanted", last, ""], rows, class_="features")
    lack = tag("p", f"Missing: {', '.join(sets.missing)}", class_="bad") if sets.missing else ""
    return join(tag("h3", f"Features: {_count(sets, last)}"), lack, shown, _absent(absent))


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


def _count(sets: FeatureSets, last: str) -> str:
    """LAST: what the third number is called."""
    offered = str(len(sets.offered)) if sets.is_offer_known else "?"
    taken = str(len(sets.taken)) if sets.is_written else "0"
    wanted = str(len(sets.wanted)) if sets.is_table_known else "?"
    return f"{offered} offered, {wanted} wanted by the driver, {taken} {last}"


def _mark(has: bool | None) -> Html:
    if has is None:
        return tag("span", "?", class_="unsure")
    return tag("span", "yes", class_="good") if has else tag("span", "\u2013", class_="none")


def _wanted(sets: FeatureSets, name: str) -> Html:
    if name not in sets.wanted and is_kept_by_core(name):
        return tag("span", "core", class_="good")
    return _mark(name in sets.wanted if sets.is_table_known else None)


def _taken(sets: FeatureSets, name: str) -> Html:
    if name in sets.missing:
        return tag("span", "missing", class_="bad")
    return _mark(name in sets.taken)
