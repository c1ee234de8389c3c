# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON as docs/formats.md describes it. It is ASCII, whatever names hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from virtio_trace.render.spool import Spool

if TYPE_CHECKING:  # commands that check nothing must not wait for it
    from virtio_trace.check.findings import Finding, Result, StepResult
    from virtio_trace.recording.source import Source

CHECK_SCHEMA = "virtio-trace/check/1"


def report(summary: dict[str, Any], out: TextIO) -> None:
    """Write a report (report.summary.summary)."""
    _document(summary, out)


def collect(recording: Source) -> tuple[dict[str, Any], _Texts]:
    """What :func:`show` shows of RECORDING. Raises BadInputError."""
    from virtio_trace.report.summary import stream  # noqa: PLC0415 - inspect must not wait for it

    return stream(recording, _Texts)


def show(found: tuple[dict[str, Any], _Texts], out: TextIO) -> None:
    """Write FOUND: a report, and the texts of its devices and bindings."""
    known, texts = found
    _document(known | {"devices": texts.devices, "bindings": texts.bindings}, out)


class _Texts:
    """The JSON of devices and bindings (a Sink of a report), in a temporary file if it is long."""

    brief = False

    def __init__(self) -> None:
        self.devices, self.bindings = Spool(), Spool()

    def device(self, order: int, device: dict[str, Any]) -> None:
        """Take DEVICE."""
        self.devices.add(order, pretty(device, _INNER))

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        """Take BINDING."""
        self.bindings.add(order, pretty(binding, _INNER))


def inspection(found: dict[str, Any], out: TextIO) -> None:
    """Write an inspection (Inspection.to_json)."""
    _document(found, out)


def check(result: Result, out: TextIO) -> None:
    """Write a check's result."""
    _document(
        {
            "schema": CHECK_SCHEMA,
            "verdict": result.verdict,
            "profile": result.profile,
            "steps": _Members(result.steps, _step),
            "findings": _Members(result.findings, _finding),
            "unplaced": result.unplaced,
            **result.scope.to_json(),
        },
        out,
    )


class _Members:
    """An array whose members become JSON one by one, each by MAKE."""

    def __init__(self, found: Sequence[Any], make: Callable[[Any], str]) -> None:
        self._found = found
        self._make = make

    def __iter__(self) -> Iterator[str]:
        return map(self._make, self._found)


def _step(step: StepResult) -> str:
    before = {"before": True} if step.before else {}
    return pretty({"id": step.id, "subject": step.subject, "ok": step.ok, **before}, _INNER)


def _finding(finding: Finding) -> str:
    return pretty(
        {
            "severity": finding.severity,
            "step": finding.step,
            "subject": finding.subject,
            "message": finding.message,
            "events": list(finding.events),
            **({"before": True} if finding.before else {}),
        },
        _INNER,
    )


def line(thing: dict[str, Any], out: TextIO) -> None:
    """Write one line of JSON Lines."""
    out.write(json.dumps(thing, separators=(",", ":")) + "\n")


def _document(thing: dict[str, Any], out: TextIO) -> None:
    """Write THING, indented. A Spool or _Members in it is written member by member."""
    end = "{"
    for name, value in thing.items():
        out.write(f"{end}\n  {_string(name)}: ")
        if isinstance(value, Spool | _Members):
            _array(value, out)
        else:
            out.write(pretty(value, "\n  "))
        end = ","
    out.write("\n}\n")


def _array(texts: Iterable[str], out: TextIO) -> None:
    end = "["
    for text in texts:
        out.write(f"{end}{_INNER}{text}")
        end = ","
    out.write("[]" if end == "[" else "\n  ]")


_INNER = "\n    "
"""What begins a line inside an array of a document."""

_string = json.encoder.encode_basestring_ascii
_CONSTANTS = {None: "null", True: "true", False: "false"}


def pretty(value: Any, newline: str) -> str:
    """VALUE as json.dumps(VALUE, indent=2) writes it, where NEWLINE begins a line. json.dumps does
    that in Python, at a third of the speed."""
    kind = type(value)
    if kind is str:
        return _string(value)
    if kind is int:
        return int.__repr__(value)
    if kind is dict:
        if not value:
            return "{}"
        inner = f"{newline}  "
        parts = [f"{_string(name)}: {pretty(item, inner)}" for name, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(parts)}{newline}}}"
    if kind is list or kind is tuple:
        if not value:
            return "[]"
        inner = f"{newline}  "
        return f"[{inner}{f',{inner}'.join([pretty(item, inner) for item in value])}{newline}]"
    if value is None or kind is bool:
        return _CONSTANTS[value]
    return json.dumps(value)
