# SPDX-License-Identifier: GPL-2.0-or-later
"""The top of the page: the verdict, the kernel, and a sentence for each device that failed. Further
down: the findings, and what is known of the recording itself."""

from __future__ import annotations

from typing import Any

from virtio_trace.check.coverage import lacks
from virtio_trace.check.findings import ERROR, INCOMPLETE, NOTE, RECORDING, WARNING, Finding, Result
from virtio_trace.check.scope import scope_of
from virtio_trace.render.before import before_line
from virtio_trace.render.page.collect import Page, Place
from virtio_trace.render.page.features import missing
from virtio_trace.render.page.markup import Html, join, tag
from virtio_trace.render.words import count, duration, result, seconds

_MOST_SENTENCES = 40
_LONG = 240
"""Characters of a reason that is too long for a sentence."""
_MOST_SUBJECTS = 12
_MOST_MESSAGES = 100
_TITLES = {ERROR: "errors", WARNING: "warnings", NOTE: "notes"}
_STATES = ("bound", "failed", "unbound", "removed", "unknown")


def anchor(address: str) -> str:
    """The id of the part about the device at ADDRESS: letters and digits only."""
    return "device-" + "".join(
        c if c.isascii() and c.isalnum() else f"_{ord(c):x}" for c in address
    )


def verdict(page: Page) -> Html:
    """The verdict, the kernel and the devices in a line each."""
    found, kernel, states = page.result, page.report["kernel"], page.places.states
    good = sum(step.ok is True for step in found.steps)
    shown = ", ".join(f"{states[state]} {state}" for state in _STATES if states[state])
    return tag(
        "header",
        tag("h1", tag("span", found.verdict, class_=f"verdict {found.verdict.lower()}")),
        tag(
            "p",
            f"{good} of {count(len(found.steps), 'step')} passed (profile {found.profile}). "
            f"{count(states.total(), 'device')}{f': {shown}' if shown else ''}.",
        ),
        tag("p", "Kernel ", tag("strong", f"{kernel['release']} {kernel['machine']}"), _when(page)),
        *_failures(page),
    )


def _when(page: Page) -> str:
    header, ended = page.recording.header, page.rows.ended_ns
    begun = header.started_ns
    said = "" if begun is None else f", recorded from {seconds(begun)} to {seconds(ended)} s"
    return f"{said} since boot." if said else "."


def _failures(page: Page) -> list[Html]:
    """A sentence for each device that failed or is not bound, those with the same cause together;
    for each error about something else; and, if the verdict is INCOMPLETE, for what the recording
    lacks."""
    places = [place for place in in_order(page) if _why(place)]
    same: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        same.setdefault((place.device["state"], _cause(page, place)), []).append(place)
    lines = [
        tag("li", _links(mine), f" {state}: ", tag("span", cause, class_="why"), class_=state)
        for (state, cause), mine in same.items()
    ]
    told = {place.device["address"] for place in places}
    lines += [_error(page, finding) for finding in _others(page, told)]
    lines += _unknown(page)
    if not lines:
        return []
    shown = lines[:_MOST_SENTENCES]
    if len(lines) > _MOST_SENTENCES:
        shown.append(tag("li", f"and {len(lines) - _MOST_SENTENCES} more"))
    return [tag("ul", *shown, class_="failures")]


def _unknown(page: Page) -> list[Html]:
    """Why the verdict is INCOMPLETE."""
    found = page.result
    if found.verdict != INCOMPLETE:
        return []
    lines = [tag("li", one.message) for one in found.findings if one.step == RECORDING]
    before = before_line(found)
    if before:
        lines.append(tag("li", before))
    number = sum(step.ok is None and not step.before for step in found.steps)
    if number:
        are = "step is" if number == 1 else "steps are"
        more = tag("a", "the findings", href="#findings")
        lines.append(tag("li", f"{number} {are} unknown; ", more, " say why"))
    return lines


def _links(places: list[Place]) -> Html:
    """The devices that have one cause in common."""
    parts: list[str] = []
    for place in places[:_MOST_SUBJECTS]:
        target = f"#{anchor(place.device['address'])}"
        parts += [", " if parts else "", tag("a", _who(place.device), href=target)]
    if len(places) > _MOST_SUBJECTS:
        parts.append(f" and {len(places) - _MOST_SUBJECTS} more")
    return join(*parts)


def _others(page: Page, told: set[str]) -> list[Finding]:
    """The errors about subjects that are not in TOLD; the first of each step of a subject."""
    found: dict[tuple[str, str], Finding] = {}
    for finding in page.result.findings:
        if finding.severity == ERROR and finding.subject not in told:
            found.setdefault((finding.subject, finding.step), finding)
    return list(found.values())


def _error(page: Page, finding: Finding) -> Html:
    place = page.places.at.get(finding.subject)
    who: str = finding.subject
    if place is not None and place.device:
        who = tag("a", _who(place.device), href=f"#{anchor(finding.subject)}")
    message = tag("span", finding.message, class_="why")
    return tag("li", who, f" {finding.step}: ", message, class_="failed")


def in_order(page: Page) -> list[Place]:
    """The places, by address; see render.picture.by_address."""
    known = [place for place in page.places.at.values() if place.device]
    return sorted(known, key=lambda one: _key(one.device))


def _key(device: dict[str, Any]) -> tuple[str, int, str]:
    return device["bus"], len(device["address"]), device["address"]


def _why(place: Place) -> str:
    if place.device["state"] in ("bound", "removed"):
        return ""
    return place.device["reason"] or "why is not in the recording"


def _cause(page: Page, place: Place) -> str:
    """The reason in a sentence; a long one only up to its details, which the device's part has."""
    why = _why(place)
    if len(why) > _LONG:
        why = why.partition("; ")[0]
    lack = missing(place)
    return f"{why}; missing: {', '.join(lack)}" if lack else why


def _who(device: dict[str, Any]) -> str:
    return " ".join(filter(None, (device["name"], device["type"], device["address"])))


def findings(page: Page) -> Html:
    """All findings, errors first; equal messages once."""
    blocks = [_of(page.result, severity) for severity in _TITLES]
    before = before_line(page.result)
    shown = [block for block in blocks if block]
    if before:
        shown.append(tag("p", f"{before[0].upper()}{before[1:]}."))
    return join(*shown) if shown else tag("p", "None.")


def _of(found: Result, severity: str) -> Html:
    same: dict[str, list[Finding]] = {}
    for finding in found.findings:
        if finding.severity == severity and not finding.before:
            same.setdefault(finding.message, []).append(finding)
    if not same:
        return Html()
    number = sum(map(len, same.values()))
    items = [
        tag("li", message, " ", tag("span", _where(mine), class_="where"))
        for message, mine in list(same.items())[:_MOST_MESSAGES]
    ]
    if len(same) > _MOST_MESSAGES:
        items.append(
            tag("li", f"and {len(same) - _MOST_MESSAGES} more; virtio-trace check has all")
        )
    title = f"{number} {_TITLES[severity] if number > 1 else severity}"
    return join(tag("h3", title), tag("ul", *items, class_=f"findings {severity}"))


def _where(found: list[Finding]) -> Html:
    """Steps and subjects, with a link to the first event of each."""
    parts: list[str] = []
    for finding in found[:_MOST_SUBJECTS]:
        if finding.step == RECORDING:
            continue
        parts.append(f"{'; ' if parts else ''}{finding.step} {finding.subject}")
        if finding.events:
            first = finding.events[0]
            parts += [" ", tag("a", f"event {first}", href=f"#event-{first}", class_="event")]
    if len(found) > _MOST_SUBJECTS:
        parts.append(f"; and {len(found) - _MOST_SUBJECTS} more")
    return join(*parts)


def drivers(page: Page) -> list[list[str]]:
    """A row for each driver: name, module, init and probe function, registration."""
    rows = []
    for driver in page.report["drivers"]:
        when = "before the recording" if driver["snapshot"] else "not seen"
        if driver["registered_ns"] is not None:
            when = f"{seconds(driver['registered_ns'])} s"
        if driver["result"] not in (0, None):
            when += f", returned {result(driver['result'])}"
        if driver["unregistered_ns"] is not None:
            when += f", unregistered {seconds(driver['unregistered_ns'])} s"
        home = "built in" if driver["builtin"] else driver["module"] or "?"
        rows.append(
            [driver["name"], home, driver["init"] or "?", driver["probe"] or "?", when],
        )
    return rows


def recording(page: Page) -> Html:
    """What the recording is, and what it lacks."""
    header, report = page.recording.header, page.report["recording"]
    facts = [
        ("events", f"{report['events']}, {report['lost'] or 'none'} lost"),
        ("ended by", report["ended"] or "cut short: it has no trailer"),
        ("recorded by", header.tool or "?"),
        ("collector", header.collector or "BPF"),
        ("command", " ".join(header.command) or "?"),
    ]
    boot = page.report["boot"]
    if boot is not None:
        share = f"{duration(boot['virtio_ns'])} of {seconds(boot['until_ns'])} s"
        facts.append(("VirtIO's share of boot", f"{share}, {boot['percent']:.2f} %"))
    terms = [join(tag("dt", name), tag("dd", said)) for name, said in facts]
    unseen = lacks(page.recording, scope_of(page.recording))
    parts = [tag("dl", *terms)]
    if unseen:
        shown = [tag("li", one) for one in unseen[:_MOST_MESSAGES]]
        parts += [tag("h3", "What it lacks"), tag("ul", *shown)]
    return join(*parts)
