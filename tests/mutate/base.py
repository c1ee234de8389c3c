# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording to mutate, parsed once; a mutant, and the recording that results from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from virtio_trace.graph.calls import nest
from virtio_trace.recording import reader
from virtio_trace.recording.events import ENTRY, MODULE, Event
from virtio_trace.recording.reader import Recording

Line = dict[str, Any]

_FIELDS = tuple(field.name for field in fields(Event))


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. ``name`` is its class, ``where`` its place; None stands for an unchanged part.

    ``hides``: it only removes knowledge, so it must not cause an error.
    """

    name: str
    where: str
    events: list[Event] | None = None
    header: Line | None = None
    trailer: Line | None = None
    cut: bool = False
    hides: bool = False


class Base:
    """A recording: its lines as JSON, and parsed."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as lines:
            raw = list(lines)
        self.name = path.stem
        self.header: Line = json.loads(raw[0])
        self.trailer: Line = json.loads(raw[-1])
        self.recording = reader.read(raw, path.name)
        self.events = self.recording.events
        self.calls = _calls(self.events)
        self._shifted: dict[int, list[Event]] = {}

    def splice(self, start: int, end: int, new: list[Event]) -> list[Event]:
        """The events with those from START to END replaced by NEW, renumbered; the gaps of lost
        events stay."""
        by = start + len(new) - end
        if by not in self._shifted:
            self._shifted[by] = [changed(event, seq=event.seq + by) for event in self.events]
        head = self.events[:start]
        first = self.events[start].seq if start < len(self.events) else head[-1].seq + 1
        inner = [changed(event, seq=first + n) for n, event in enumerate(new)]
        return [*head, *inner, *self._shifted[by][end:]]

    def without(self, places: set[int]) -> list[Event]:
        """The events except those at PLACES, renumbered; the gaps of lost events stay."""
        kept, gone = [], 0
        for place, event in enumerate(self.events):
            if place in places:
                gone += 1
            else:
                kept.append(changed(event, seq=event.seq - gone) if gone else event)
        return kept

    def recording_of(self, mutant: Mutant) -> Recording:
        """The recording that is read from MUTANT. Raises BadInputError."""
        header, trailer = self.recording.header, self.recording.trailer
        if mutant.header is not None or mutant.trailer is not None:
            lines = [mutant.header or self.header, mutant.trailer or self.trailer]
            read = reader.read((json.dumps(line).encode() + b"\n" for line in lines), self.name)
            header, trailer = read.header, read.trailer
        events = self.events if mutant.events is None else mutant.events
        if trailer is not None and mutant.events is not None:
            trailer = replace(trailer, events=len(events))
        return Recording(header, events, None if mutant.cut else trailer)


def changed(event: Event, **members: Any) -> Event:
    """EVENT with MEMBERS replaced."""
    values = {name: getattr(event, name) for name in _FIELDS}
    return Event(**(values | members))


def _calls(events: list[Event]) -> dict[int, int]:
    """The index in EVENTS of each call's return, by the index of its entry."""
    entered: dict[int, int] = {}
    found = {}
    for place, (event, call) in enumerate(nest(events)):
        if call is None or event.kind == MODULE:
            continue
        if event.kind == ENTRY:
            entered[id(call)] = place
        elif call.entry is not None and id(call) in entered:
            found[entered.pop(id(call))] = place
    return found


def label(base: Base, event: Event) -> str:
    """EVENT in the name of a mutant's class: its probe point and kind, or what a module is for."""
    if event.kind == MODULE:
        return f"module.{_of(base, event.module)}"
    if event.probe == "do_init_module":
        name = event.detail.name if event.detail else None
        return f"do_init_module.{event.kind}.{_of(base, name)}"
    return f"{event.probe}.{event.kind}"


def _of(base: Base, module: str | None) -> str:
    evidence = base.recording.header.evidence
    if module in {facts.module for facts in evidence.drivers}:
        return "driver"
    return "core" if (module or "").startswith("virtio") else "other"


def each(base: Base) -> Iterator[tuple[int, Event, str]]:
    """Every event with its index and its label."""
    for place, event in enumerate(base.events):
        yield place, event, label(base, event)
