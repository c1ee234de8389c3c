# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the events: dropped, repeated, swapped, or with one member changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.mutate.base import Base, Mutant, changed, each, label
from virtio_trace.recording.events import HIT, MODULE, Detail, DeviceRef, Event

_ERRORS = (-22, -19)
_OF_CALLS = {"result", "detail"}
"""The members in which the entry and the return of a call differ."""


def mutants(base: Base) -> Iterator[Mutant]:
    """All mutants of the events, in the order of the recording."""
    yield from _order(base)
    for place, event, name in each(base):
        for what, hides, members in _changes(base, event):
            event_alone = base.splice(place, place + 1, [changed(event, **members)])
            hit = event.kind in (HIT, MODULE)
            yield Mutant(f"{what}:{name}", f"event {event.seq}", event_alone, hides=hides)
            end = base.calls.get(place)
            if hit or end is None or not _OF_CALLS.isdisjoint(members):
                continue
            both = list(base.events)
            both[place] = changed(event, **members)
            both[end] = changed(base.events[end], **members)
            where = f"events {event.seq}, {base.events[end].seq}"
            yield Mutant(f"{what} of call:{event.probe}", where, both, hides=hides)


def _order(base: Base) -> Iterator[Mutant]:
    events = base.events
    for place, event, name in each(base):
        where = f"event {event.seq}"
        half = event.kind not in (HIT, MODULE)
        yield Mutant(f"drop:{name}", where, base.splice(place, place + 1, []), hides=half)
        yield Mutant(f"twice:{name}", where, base.splice(place, place, [event]))
        yield from _swap(base, place)
        end = base.calls.get(place)
        if end is None:
            continue
        where = f"events {event.seq} to {events[end].seq}"
        inner = {n for n in range(place, end + 1) if events[n].tid == event.tid}
        called = name.replace(".entry", "")
        yield Mutant(f"drop call:{called}", where, base.without({place, end}))
        if len(inner) > 2:
            yield Mutant(f"drop tree:{called}", where, base.without(inner))
        tree = [events[n] for n in sorted(inner)]
        yield Mutant(f"call twice:{called}", where, base.splice(end + 1, end + 1, tree))


def _swap(base: Base, place: int) -> Iterator[Mutant]:
    """Swap an event with the next one of its thread. The order between threads proves nothing."""
    events = base.events
    first = events[place]
    other = next((n for n in range(place + 1, len(events)) if events[n].tid == first.tid), None)
    if other is None:
        return
    second = events[other]
    both = list(events)
    both[place] = changed(second, seq=first.seq, ns=first.ns)
    both[other] = changed(first, seq=second.seq, ns=second.ns)
    name = f"swap:{label(base, first)} and {label(base, second)}"
    yield Mutant(name, f"events {first.seq}, {second.seq}", both)


def _changes(base: Base, event: Event) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """The changes to one event: the class, whether it only hides, and the changed members."""
    if event.kind == MODULE:
        yield "module", False, {"module": "another"}
        return
    yield "thread", False, {"tid": event.tid + 1000}
    yield "function", False, {"function": "another"}
    yield "module", False, {"module": "another" if event.module else "a_module"}
    if event.result is not None:
        for value in (*_ERRORS, 0, 1):
            if value != event.result:
                yield f"result {_was(event.result)} to {value}", False, {"result": value}
        yield "no result", True, {"result": None}
    if event.driver is not None:
        yield "driver", False, {"driver": _another(base, event.driver)}
        yield "no driver", True, {"driver": None}
    if event.device is not None:
        yield from _devices(base, event.device)
    if event.detail is not None:
        yield from _details(event.detail)


def _was(result: int) -> str:
    return "error" if result < 0 else str(result)


def _another(base: Base, driver: str) -> str:
    names = (facts.name for facts in base.recording.header.evidence.drivers)
    return next((name for name in names if name != driver), "another")


def _devices(base: Base, ref: DeviceRef) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    known = {e.device.address: e.device for e in base.events if e.device and e.device.id}
    other = next((r for a, r in known.items() if a != ref.address), None)
    if other is not None:
        yield "device", False, {"device": other}
    yield "unknown device", False, {"device": replace(ref, address="0000:00:1e.7")}
    yield "no device", True, {"device": None}
    if ref.id is not None:
        yield "id", False, {"device": replace(ref, id=ref.id + 20)}
        yield "no id", True, {"device": replace(ref, id=None, vendor=None)}
    if ref.vendor is not None:
        yield "vendor", False, {"device": replace(ref, vendor=1)}
    if ref.index is not None:
        yield "index", False, {"device": replace(ref, index=ref.index + 20)}


def _details(detail: Detail) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    yield "no detail", True, {"detail": None}
    if detail.status is not None:
        for bit in (1, 2, 4, 8, 64, 128):
            value = detail.status ^ bit
            what = f"status {'+' if value & bit else '-'}{bit}"
            yield what, False, {"detail": replace(detail, status=value)}
        if detail.status:
            yield "status 0", False, {"detail": replace(detail, status=0)}
        yield "no status", True, {"detail": replace(detail, status=None)}
    if detail.features is not None:
        bits = int(detail.features, 16)
        more = next(bit for bit in range(64) if not bits >> bit & 1)
        for what, value in (
            ("features +1", bits | 1 << more),
            ("features -1", bits & (bits - 1)),
            ("features without VERSION_1", bits & ~(1 << 32)),
            ("features none", 0),
        ):
            if value != bits:
                yield what, False, {"detail": replace(detail, features=f"{value:#x}")}
        yield "no features", True, {"detail": replace(detail, features=None)}
    for member in ("count", "queue", "size", "vector"):
        value = getattr(detail, member)
        if value is not None:
            yield member, False, {"detail": replace(detail, **{member: value + 1})}
            yield f"no {member}", True, {"detail": replace(detail, **{member: None})}
