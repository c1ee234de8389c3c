# SPDX-License-Identifier: GPL-2.0-or-later
"""The grids: subjects by steps. A cell is a button that opens the step's source and events."""

from __future__ import annotations

from collections import Counter
from typing import Any

from virtio_trace.check import linux_steps
from virtio_trace.check.profiles import PROFILES
from virtio_trace.render.before import BEFORE
from virtio_trace.render.escape import escape
from virtio_trace.render.page.collect import Page
from virtio_trace.render.page.markup import Html, join, table, tag
from virtio_trace.render.page.summary import in_order

_GRIDS = (
    (
        "Devices by steps",
        (linux_steps.DEVICE, linux_steps.BINDING, linux_steps.LATER, linux_steps.HOST),
    ),
    ("Drivers and bus by steps", (linux_steps.BUS, linux_steps.DRIVER)),
)
Mark = bool | str | None
_WORDS: tuple[tuple[Mark, str, str], ...] = (
    (False, "failed", "bad"),
    (None, "unknown", "unsure"),
    (BEFORE, BEFORE, "before"),
    (True, "ok", "good"),
)
MOST = 250
"""Rows of a grid, and findings that cells have."""

Results = Counter[Mark]


def grids(page: Page) -> Html:
    """Both grids. Rows in which something is wrong come first if there are too many."""
    return join(*(_grid(page, title, kinds) for title, kinds in _GRIDS))


def _grid(page: Page, title: str, kinds: tuple[str, ...]) -> Html:
    known = {step.id: step for step in PROFILES[page.result.profile] if step.of in kinds}
    marks: dict[str, dict[str, Results]] = {}
    for step in page.result.steps:
        if step.id in known:
            row = marks.setdefault(step.subject, {})
            row.setdefault(step.id, Counter())[BEFORE if step.before else step.ok] += 1
    columns = [step for step in known if any(step in row for row in marks.values())]
    if not columns:
        return Html()
    addresses = dict.fromkeys(place.device["address"] for place in in_order(page))
    subjects = [one for one in addresses if one in marks]
    subjects += [one for one in marks if one not in addresses]
    if len(subjects) > MOST:
        subjects.sort(key=lambda one: all(row.keys() == {True} for row in marks[one].values()))
    rows = [
        [
            _subject(page, subject),
            *(_cell(marks[subject].get(step), step, subject) for step in columns),
        ]
        for subject in subjects[:MOST]
    ]
    parts = [table(["", *columns], rows, title, class_="steps")]
    if len(subjects) > MOST:
        said = f"{MOST} of {len(subjects)} rows, those with failures first."
        parts.append(tag("p", f"{said} virtio-trace check has all.", class_="capped"))
    return join(*parts)


def _subject(page: Page, subject: str) -> Html:
    place = page.places.at.get(subject)
    if place is None or not place.device:
        return tag("code", subject)
    device = place.device
    name = " ".join(filter(None, (device["name"], device["type"])))
    return join(tag("code", subject), " ", tag("small", name))


def _cell(results: Results | None, step: str, subject: str) -> Html:
    if not results:
        return tag(
            "td", tag("span", "\u2013", class_="none", title="not reached, or not for this one")
        )
    several = sum(results.values()) > 1
    parts = [f"{results[ok]} {word}" if several else word for ok, word, _ in _WORDS if results[ok]]
    look = next(look for ok, _, look in _WORDS if results[ok])
    button = tag(
        "button",
        ", ".join(parts),
        type="button",
        class_=f"cell {look}",
        data_step=step,
        data_subject=subject,
        aria_label=f"{subject}, {step}: {', '.join(parts)}",
    )
    return tag("td", button)


def data(page: Page) -> dict[str, Any]:
    """For the script: what each step is, and the findings, errors first."""
    taken = {step.id for step in page.result.steps}
    order = {"error": 0, "warning": 1, "note": 2}
    found = sorted(page.result.findings, key=lambda one: order[one.severity])
    return {
        "steps": {
            step.id: {"text": step.text, "source": step.source, "probes": list(step.probes)}
            for step in PROFILES[page.result.profile]
            if step.id in taken
        },
        "findings": [
            [one.severity, one.step, escape(one.subject), escape(one.message), [*one.events[:20]]]
            for one in found[:MOST]
        ],
    }
