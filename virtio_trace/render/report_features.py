# SPDX-License-Identifier: GPL-2.0-or-later
"""What each device offered, what its driver wanted, what was negotiated; and its virtqueues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from virtio_trace.render.escape import escape
from virtio_trace.render.grid import Cell, grid_lines, wrap
from virtio_trace.render.words import Paint, count
from virtio_trace.virtio import features

TITLE = "FEATURES AND QUEUES"

_INDENT = "  "
_LABEL = 13
_MOST_QUEUES = 8
_KINDS = {"msix": "MSI-X", "intx": "INTx"}
_FEATURES = ("bit", "feature", "offered", "wanted", "negotiated")
_QUEUES = ("queue", "name", "size", "vector")
_COUNTS = ("interrupts", "completions")

Device = dict[str, Any]
Binding = dict[str, Any]


class _Sets:
    """The features of a binding, by what became of them. Names of the kernel's headers."""

    def __init__(self, binding: Binding) -> None:
        found = binding["features"]
        offered = found["offered"]
        agreed = found["negotiated"]
        self.is_negotiated = agreed is not None
        self.taken: list[str] = found["written"] or [] if agreed is None else agreed
        self.offered: list[str] = offered or []
        self.wanted: list[str] = found["driver"] or []
        self.missing: dict[str, str] = {one["name"]: one["why"] for one in found["missing"]}
        self.is_written = agreed is not None or bool(found["written"])
        self.is_known = offered is not None or self.is_negotiated

    def rest(self, wanted: bool) -> list[str]:
        """What was offered and not taken: WANTED by the driver or the kernel's core, or not."""
        gone = [name for name in self.offered if name not in {*self.taken, *self.missing}]
        return [name for name in gone if self.is_wanted(name) == wanted]

    def is_wanted(self, name: str) -> bool:
        """Whether the driver's table has NAME, or the core keeps it for every driver."""
        return name in self.wanted or is_kept_by_core(name)

    def not_offered(self) -> list[str]:
        """What the driver wanted and the device did not offer."""
        there = {*self.offered, *self.missing}
        return [name for name in self.wanted if name not in there]


def is_kept_by_core(name: str) -> bool:
    """Whether virtio_dev_probe keeps the feature NAME whatever the driver's table has."""
    bit = features.bit(None, name)
    return bit in features.KEPT_BY_CORE and not name.startswith("bit ")


def lines(
    device: Device, binding: Binding | None, width: int | None, paint: Paint, verbose: bool
) -> Iterator[str]:
    """The block of DEVICE with its last BINDING; nothing if nothing is known. VERBOSE: a line for
    each feature, and all virtqueues."""
    shown = device["in_sysfs"]
    if binding is None or not (_Sets(binding).is_known or binding["queues"]):
        if shown is not None and shown["features"] is not None:
            yield _name(device, shown["driver"], paint) + ": bound before the recording began"
            yield from _names("negotiated", shown["features"], width, paint)
        return
    sets = _Sets(binding)
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
    device: Device, binding: Binding, sets: _Sets, width: int | None, paint: Paint
) -> Iterator[str]:
    parts: list[str] = []
    if sets.is_negotiated:
        parts.append(f"{len(sets.taken)} of {len(sets.offered)} offered features negotiated")
    elif sets.is_written:
        parts.append("the device refused the features")
    else:
        parts.append("nothing negotiated")
    if binding["interrupts"]:
        kind = _KINDS.get(binding["interrupts"], str(binding["interrupts"]))
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


def _by_outcome(sets: _Sets, width: int | None, paint: Paint) -> Iterator[str]:
    parts: list[tuple[str, list[str], str]] = [("missing", [*sets.missing], "bad")]
    if sets.is_written:
        parts += [
            ("negotiated" if sets.is_negotiated else "written", sets.taken, ""),
            ("given up", sets.rest(wanted=True), "unsure"),
            ("not wanted", sets.rest(wanted=False), ""),
        ]
    else:
        parts.append(("offered", sets.offered, ""))
    parts.append(("not offered", sets.not_offered(), "faint"))
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


def _each(device: Device, sets: _Sets, width: int | None, paint: Paint) -> Iterator[str]:
    """A row for each feature that either side knows, by its bit."""
    names = dict.fromkeys([*sets.offered, *sets.wanted, *sets.taken, *sets.missing])
    bits = {name: features.bit(device["id"], name) for name in names}
    rows = []
    for name in sorted(names, key=lambda name: (bits[name] is None, bits[name] or 0)):
        bit = bits[name]
        wanted = "yes" if name in sets.wanted else "core" if is_kept_by_core(name) else "-"
        mark: Cell = ("-", "faint")
        if name in sets.missing:
            mark = ("MISSING", "bad")
        elif name in sets.taken:
            mark = ("yes" if sets.is_negotiated else "written, refused", "good")
        elif sets.is_written and name in sets.offered and sets.is_wanted(name):
            mark = ("given up", "unsure")
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
