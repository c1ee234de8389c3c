# SPDX-License-Identifier: GPL-2.0-or-later
"""A diff of two recordings as text, JSON or Markdown.

A message that several devices share is written once, followed by their addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from virtio_trace.render import json
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import wrap
from virtio_trace.render.words import Paint, count, plain
from virtio_trace.report.diff.model import KINDS, Diff, Difference, Side, Unknown

_TITLES = {
    "device": "Devices",
    "driver": "Drivers",
    "state": "States",
    "steps": "Steps of the procedure",
    "attempts": "Attempts to bind",
    "features": "Features",
    "status": "Device status",
    "queues": "Virtqueues and interrupts",
    "functions": "Functions of the kernel",
    "order": "Calls and their order",
    "time": "Slower",
}
_NO_SUBJECT = "the whole recording"


def text(diff: Diff, out: TextIO, width: int | None = None, paint: Paint = plain) -> None:
    """Write DIFF for a terminal of WIDTH columns; None: any width."""
    same = diff.same
    style = "good" if same else "unsure" if same is None else "bad"
    lines = [paint(_verdict(diff), style)]
    for name, side in (("OLD", diff.old), ("NEW", diff.new)):
        first, *rest = wrap(_side(side), None if width is None else width - 7)
        lines += [f"  {name}  {first}", *(f"       {line}" for line in rest)]
    for kind in KINDS:
        found = _grouped(one for one in diff.differences if one.kind == kind)
        if found:
            lines += ["", paint(_TITLES[kind].upper(), "heading")]
        lines += _entries(found, width, paint)
    if diff.unknown:
        lines += ["", paint("NOT COMPARED", "heading")]
        lines += _entries(_grouped(diff.unknown), width, paint)
    out.write("\n".join(lines) + "\n")


def json_document(diff: Diff, out: TextIO) -> None:
    """Write DIFF as docs/formats.md describes it."""
    json.report(diff.to_json(), out)


def markdown(diff: Diff, out: TextIO) -> None:
    """Write DIFF for a summary of a CI job (GitHub flavoured Markdown)."""
    lines = [f"### virtio-trace diff: {_cell(_verdict(diff))}", ""]
    lines += ["| | recording | kernel |", "|---|---|---|"]
    for name, side in (("OLD", diff.old), ("NEW", diff.new)):
        lines.append(f"| {name} | {_cell(side.file)} | {_cell(side.release)} |")
    rows = [
        (_TITLES[kind], message, subjects)
        for kind in KINDS
        for message, subjects in _grouped(one for one in diff.differences if one.kind == kind)
    ]
    rows += [("Not compared", *entry) for entry in _grouped(diff.unknown)]
    if rows:
        lines += ["", "| what | of | difference |", "|---|---|---|"]
    for title, message, subjects in rows:
        lines.append(f"| {title} | {_cell(', '.join(subjects))} | {_cell(message)} |")
    out.write("\n".join(lines) + "\n")


def _verdict(diff: Diff) -> str:
    if diff.differences:
        number = len(diff.differences)
        return f"DIFFERENT: {count(number, 'difference')}"
    if diff.unknown:
        return f"UNKNOWN: no difference seen, {count(len(diff.unknown), 'thing')} not compared"
    devices = count(diff.new.devices, "device")
    return f"SAME: {devices} and {count(diff.new.drivers, 'driver')}"


def _side(side: Side) -> str:
    machine = f" {side.machine}" if side.machine else ""
    devices = f"{count(side.devices, 'device')}, {count(side.drivers, 'driver')}"
    return escape(f"{side.file}: Linux {side.release}{machine}, {devices}")


def _grouped(found: Iterable[Difference | Unknown]) -> list[tuple[str, list[str]]]:
    """Each message with its subjects."""
    same: dict[str, dict[str, None]] = {}
    for one in found:
        same.setdefault(one.message, {})[one.subject or _NO_SUBJECT] = None
    return [(message, [*subjects]) for message, subjects in same.items()]


def _entries(found: list[tuple[str, list[str]]], width: int | None, paint: Paint) -> Iterable[str]:
    for message, subjects in found:
        for line in wrap(escape(", ".join(subjects)), None if width is None else width - 2):
            yield f"  {paint(line, 'name')}"
        for line in wrap(escape(message), None if width is None else width - 4):
            yield f"    {line}"


def _cell(text: str) -> str:
    """TEXT as the content of a table's cell: nothing in it is Markdown or HTML."""
    shown = escape(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]|~#!":
        shown = shown.replace(mark, f"&#{ord(mark)};")
    return shown
