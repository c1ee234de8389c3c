# SPDX-License-Identifier: GPL-2.0-or-later
"""A call in a timeline, as a line of JSON."""

from __future__ import annotations

import json
from typing import Any

from virtio_trace.graph.negotiation import NO_VECTOR
from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.render.escape import escape
from virtio_trace.render.spans import MATCH, Collected, Shape
from virtio_trace.virtio import features, numbers

_string = json.encoder.encode_basestring_ascii


class Slices:
    """Makes the texts of the records of FOUND. What the spans of a shape have in common is made
    once."""

    def __init__(self, found: Collected) -> None:
        self._shapes = found.shapes
        self._names = found.names
        self._json: dict[int, str] = {}
        self._parts: dict[tuple[int, int | None], tuple[str, str, str, str]] = {}

    def text(self, span: tuple[Any, ...], at: str, device: int | None) -> str:
        """The begin of SPAN on the track AT, or the instant. DEVICE (a type) names feature bits; by
        default, the type in the event does."""
        _, start, end, first, last, took, shape, comm, address, tid, cpu, own = span
        key = shape, device if device is not None else own
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = _parts(self._shapes[shape], key[1])
        head, result, what, rest = parts
        known = self._shapes[shape]
        is_instant = start == -end and (known.is_hit or known.event.probe == MATCH)
        phase, style = ("i", '"s":"t",') if is_instant else ("B", "")
        events = f"{first},{last}" if last else first
        duration = "" if took is None else f'"duration_ns":{took},'
        place = "" if self._names[address] is None else f'"device":{self._quoted(address)},'
        thread = f'{self._quoted(comm)[:-1]}/{tid}"'
        return (
            f'{{"ph":"{phase}",{at}"ts":{start / 1000},{head}{style}"args":{{"events":[{events}]'
            f',{result}{duration}{place}{what}"thread":{thread},"cpu":{cpu}{rest}}}}}'
        )

    def _quoted(self, number: int) -> str:
        """A name as JSON."""
        found = self._json.get(number)
        if found is None:
            found = self._json[number] = _string(escape(self._names[number]))
        return found


def name(event: Event) -> str:
    """The function; for a status write the status, as the function is always the same."""
    if event.kind == ev.MODULE:
        return f"load module {event.module}"
    if event.detail is not None and event.detail.status is not None:
        return f"status {_bits(event.detail.status)}"
    if event.probe == "driver_features":  # its function is virtio_dev_probe, a call of its own
        return "driver_features"
    return event.function or str(event.probe)


def _bits(status: int) -> str:
    return " ".join(numbers.status_names(status)) or "reset"


def _parts(shape: Shape, device: int | None) -> tuple[str, str, str, str]:
    """The members of a slice in four parts: between them are those that differ from span to
    span."""
    event, ret = shape.event, shape.ret
    result = ret.result if ret is not None else None
    head = {"name": name(event), "cat": str(event.probe or event.kind)}
    outcome = {
        "result": result,
        "errno": numbers.errno_name(result),
        "open": True if shape.is_open else None,
    }
    what = {"driver": event.driver, "module": event.module, "function": event.function}
    rest = _members(_detail(shape, device))
    return (
        f"{_members(head)},",
        "".join(f"{text}," for text in [_members(outcome)] if text),
        "".join(f"{text}," for text in [_members(what)] if text),
        f",{rest}" if rest else "",
    )


def _members(known: dict[str, Any]) -> str:
    """KNOWN without None, as the inside of a JSON object."""
    shown = {
        key: escape(value) if isinstance(value, str) else value
        for key, value in known.items()
        if value is not None
    }
    return json.dumps(shown, separators=(",", ":"))[1:-1]


def _detail(shape: Shape, device: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for event in (shape.entry, shape.ret):
        if event is not None and event.detail is not None:
            told = {name: getattr(event.detail, name) for name in event.detail.__slots__}
            shown |= {name: value for name, value in told.items() if value is not None}
    if "status" in shown:
        shown["status_names"] = _bits(shown["status"])
    bits = int(shown.get("features", "0"), 16)
    if bits:
        names = features.names(device, numbers.bits(bits))
        shown["feature_names"] = " ".join(names)
    if shown.get("vector") == NO_VECTOR:
        shown["vector"] = "none"
    return shown
