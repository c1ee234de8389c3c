# SPDX-License-Identifier: GPL-2.0-or-later
"""What each device offered, what its driver wanted, what was negotiated; and its virtqueues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from virtio_trace.render.escape import escape
from virtio_trace.render.grid import Cell, grid_lines, wrap
from virtio_trace.render.words import Paint, count
from virtio_trace.report import feature_sets as fs
from virtio_trace.report.feature_sets import FeatureSets, is_kept_by_core
from virtio_trace.virtio import features

TITLE = "FEATURES AND QUEUES"

_INDENT = "  "
_LABEL = 13
_MOST_QUEUES = 8
INTERRUPTS = {"msix": "MSI-X", "intx": "INTx"}
_FEATURES = ("bit", "feature", "offered", "wanted", "negotiated")
_QUEUES = ("queue", "name", "size", "vector")
_COUNTS = ("interrupts", "completions")

Device = dict[str, Any]
Binding = dict[str, Any]


def lines(
    device: Device, binding: Binding | None, width: int | None, paint: Paint, verbose: bool
) -> Iterator[str]:
    """The block of DEVICE with its last BINDING; nothing if nothing is known. VERBOSE: a line for
    each feature, and all virtqueues."""
    shown = device["in_sysfs"]
    if binding is None or not (FeatureSets(binding).is_known or binding["queues"]):
        if shown is not None and shown["features"] is not None:
            yield _name(device, shown["driver"], paint) + ": bound before the recording began"
            yield from _names("negotiated", shown["features"], width, paint)
        return
    sets = FeatureSets(binding)
    yield from _head(device, binding, sets, width, paint)
    if verbose:
        yield from _each(device, sets, width, paint)
    else:
        yield from _by_outcome(sets, width, paint)
    yield from _queues(binding, width, paint, verbose)


def _name(device: Device, driver: str | None, paint: Paint) -> str:
    kind = f"{escape(device['name'] or '')} {escape(device['type'] or '')}".strip()
    of = f", {escape(driver)}" if driver else ""
    return f"{paint(escape(device['address']), 'name')} {kind}{of}"


def _head(
    device: Device, binding: Binding, sets: FeatureSets, width: int | None, paint: Paint
) -> Iterator[str]:
    parts: list[str] = []
    if sets.is_negotiated:
        parts.append(f"{len(sets.taken)} of {len(sets.offered)} offered features negotiated")
    elif sets.is_written:
        parts.append("the device refused the features")
    else:
        parts.append("nothing negotiated")
    if binding["interrupts"]:
        kind = INTERRUPTS.get(binding["interrupts"], str(binding["interrupts"]))
        parts.append(kind + _shared(device))
    if binding["queues"]:
        parts.append(count(len(binding["queues"]), "queue"))
    first, *rest = wrap(f"{_name(device, binding['driver'], _bare)}: {', '.join(parts)}", width)
    address = escape(device["address"])
    yield paint(address, "name") + first.removeprefix(address)
    yield from (_INDENT + line for line in rest)


def _shared(device: Device) -> str:
    """How many interrupts there were, if all virtqueues share one."""
    counts = (device["in_sysfs"] or {}).get("interrupts") or {}
    number = counts.get("virtqueues", counts.get(""))
    return "" if number is None else f" ({count(number, 'interrupt')}, shared)"


def _bare(text: str, _style: str) -> str:
    return text


def _by_outcome(sets: FeatureSets, width: int | None, paint: Paint) -> Iterator[str]:
    parts: list[tuple[str, list[str], str]] = [("missing", [*sets.missing], "bad")]
    if sets.is_written:
        parts += [
            ("negotiated" if sets.is_negotiated else "written", sets.taken, ""),
            ("given up", sets.those(fs.GIVEN_UP), "unsure"),
            ("not wanted", sets.those(fs.NOT_WANTED), ""),
            ("not taken", sets.those(fs.NOT_TAKEN), ""),
        ]
    else:
        parts.append(("offered", sets.offered, ""))
    parts.append(("not offered", sets.those(fs.NOT_OFFERED), "faint"))
    for label, names, style in parts:
        if names:
            yield from _names(label, names, width, paint, style)


def _names(
    label: str, names: list[str], width: int | None, paint: Paint, style: str = ""
) -> Iterator[str]:
    room = None if width is None else width - len(_INDENT) - _LABEL
    text = " ".join(features.short(name).replace(" ", "-") for name in names) or "none"
    side = f"{label:{_LABEL}}"
    for line in wrap(escape(text), room):
        yield _INDENT + paint(side, "faint") + (paint(line, style) if style else line)
        side = " " * _LABEL


def _each(device: Device, sets: FeatureSets, width: int | None, paint: Paint) -> Iterator[str]:
    """A row for each feature that either side knows, by its bit."""
    bits = {name: features.bit(device["id"], name) for name in sets}
    rows: list[list[Cell]] = []
    for name in sorted(bits, key=lambda name: (bits[name] is None, bits[name] or 0)):
        bit = bits[name]
        wanted = "yes" if name in sets.wanted else "core" if is_kept_by_core(name) else "-"
        wanted = "?" if wanted == "-" and not sets.is_table_known else wanted
        mark = {
            fs.MISSING: ("MISSING", "bad"),
            fs.TAKEN: ("yes" if sets.is_negotiated else "written, refused", "good"),
            fs.GIVEN_UP: ("given up", "unsure"),
        }.get(sets.outcome(name), ("-", "faint"))
        offered = "yes" if name in sets.offered else "-"
        rows.append(["?" if bit is None else str(bit), name, offered, wanted, mark])
    yield from _indented(_FEATURES, rows, width, paint, ("bit",))


def _queues(binding: Binding, width: int | None, paint: Paint, verbose: bool) -> Iterator[str]:
    found = binding["queues"] or []
    if not found:
        return
    counts = [name for name in _COUNTS if any(queue.get(name) is not None for queue in found)]
    shown = found if verbose or len(found) <= _MOST_QUEUES + 1 else found[:_MOST_QUEUES]
    rows: list[list[Cell]] = [
        [
            str(queue["index"]),
            queue["name"] or "?",
            "?" if queue["size"] is None else str(queue["size"]),
            "-" if queue["vector"] is None else str(queue["vector"]),
            *(_number(queue, name) for name in counts),
        ]
        for queue in shown
    ]
    right = ("queue", "size", "vector", *counts)
    yield from _indented((*_QUEUES, *counts), rows, width, paint, right)
    if len(shown) < len(found):
        yield f"{_INDENT}and {len(found) - len(shown)} more queues; -v shows all"


def _number(queue: dict[str, Any], name: str) -> str:
    """A count; ``-`` for interrupts of a virtqueue without a vector of its own."""
    if queue[name] is not None:
        return str(queue[name])
    return "-" if name == "interrupts" and queue["vector"] is None else "?"


def _indented(
    heading: tuple[str, ...],
    rows: list[list[Cell]],
    width: int | None,
    paint: Paint,
    right: tuple[str, ...],
) -> Iterator[str]:
    room = None if width is None else width - len(_INDENT)
    for line in grid_lines(heading, rows, room, paint, right=right):
        yield _INDENT + line
