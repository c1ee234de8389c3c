# SPDX-License-Identifier: GPL-2.0-or-later
"""A check as text: the verdict first and last, what failed before what is fine.

Between them are the findings by severity, then the steps as a matrix for each kind of subject, in
which the subjects that failed come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TextIO

from virtio_trace.check import board_steps, linux_steps, spec_steps
from virtio_trace.check.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    NOTE,
    RECORDING,
    WARNING,
    Finding,
    Result,
)
from virtio_trace.check.profiles import PROFILES
from virtio_trace.render.before import BEFORE, before_line
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import Cell, grid_lines, wrap
from virtio_trace.render.words import Paint, count, plain

_VERDICTS = {CONFORMS: "good", DEVIATES: "bad"}
_SEVERITIES = {ERROR: "bad", WARNING: "unsure", NOTE: "faint"}
_MATRICES = (
    ("PROCEDURE: BUS AND DRIVERS", (linux_steps.BUS, linux_steps.DRIVER)),
    ("PROCEDURE: DEVICES", (linux_steps.DEVICE, linux_steps.BINDING)),
    ("AFTERWARDS", (linux_steps.LATER,)),
    ("HOST'S VIEW", (linux_steps.HOST,)),
    ("BOARD", (board_steps.BOARD,)),
    ("BASELINE", (board_steps.BASELINE,)),
    ("SPECIFICATION: DEVICE STATUS", (spec_steps.STATUS,)),
    ("SPECIFICATION: FEATURES AND VIRTQUEUES", (spec_steps.FEATURES,)),
)
_OPTIONAL = {board_steps.BOARD, board_steps.BASELINE}
"""Kinds of steps of which only those taken are columns."""

_MOST_EVENTS = 8
_INDENT = "    "

Mark = bool | str | None
"""The result of a step, or BEFORE."""


def text(
    result: Result,
    out: TextIO,
    width: int | None = None,
    paint: Paint = plain,
    *,
    verbose: bool = False,
    tables: Callable[[], None] | None = None,
) -> None:
    """Write RESULT for a terminal of WIDTH columns; None: any width. VERBOSE adds each step's text
    and its source. TABLES writes a report's tables, whose place is between what failed and the
    procedure."""
    verdict = "\n".join(wrap(_verdict(result), width))
    verdict = paint(result.verdict, _VERDICTS.get(result.verdict, "unsure")) + verdict.removeprefix(
        result.verdict
    )
    found = {s: _findings(result.findings, s, width, paint) for s in _SEVERITIES}
    _write([verdict, found[ERROR], found[WARNING]], out)
    out.write("\n")
    if tables is not None:
        tables()
        out.write("\n")
    before = "\n".join(wrap(before_line(result), width))
    procedure = _procedure(result, width, paint) if verbose else ""
    _write([*_matrices(result, width, paint), before, found[NOTE], procedure, verdict], out)


def _write(blocks: Iterable[str], out: TextIO) -> None:
    out.write("\n\n".join(block for block in blocks if block))
    out.write("\n")


def _matrices(result: Result, width: int | None, paint: Paint) -> Iterable[str]:
    """Bus and drivers, then devices with their bindings: a row per subject, a column per step."""
    for title, kinds in _MATRICES:
        columns = [step.id for step in PROFILES[result.profile] if step.of in kinds]
        mine = [step for step in result.steps if step.id in columns]
        if not mine:
            continue
        names = columns
        if not _OPTIONAL.isdisjoint(kinds):  # a board need not have every key
            taken = {step.id for step in mine}
            columns = [column for column in columns if column in taken]
            names = [column.removeprefix(f"{title.lower()}-") for column in columns]
        marks: dict[str, dict[str, Counter[Mark]]] = {}
        for step in mine:
            mark = BEFORE if step.before else step.ok
            marks.setdefault(step.subject, {}).setdefault(step.id, Counter())[mark] += 1
        rows = [
            [subject, *(_mark(row.get(column)) for column in columns)]
            for subject, row in sorted(marks.items(), key=lambda item: _rank(item[1]))
        ]
        yield "\n".join(
            [paint(title, "heading"), *grid_lines(["subject", *names], rows, width, paint)]
        )


def _rank(row: dict[str, Counter[Mark]]) -> int:
    """Subjects with a failed step come first, then those with an unknown one."""
    results: Counter[Mark] = sum(row.values(), Counter())
    return 0 if results[False] else 1 if results[None] else 2


def _mark(results: Counter[Mark] | None) -> Cell:
    """``ok``, ``FAILED``, ``?``, with counts if there is more than one result; ``before`` if the
    step came before the recording, and nothing of it since."""
    if not results:
        return ("-", "faint")
    since = Counter({mark: number for mark, number in results.items() if mark != BEFORE})
    if not since:
        return (BEFORE, "faint")
    results = since
    words = ((False, "FAILED"), (None, "?"), (True, "ok"))
    several = sum(results.values()) > 1
    parts = [f"{results[ok]} {word}" if several else word for ok, word in words if results.get(ok)]
    style = "bad" if results.get(False) else "unsure" if results.get(None) else "good"
    return (", ".join(parts), style)


def _findings(findings: list[Finding], severity: str, width: int | None, paint: Paint) -> str:
    """Findings of one severity: each message once, followed by its steps, subjects and events."""
    same: dict[str, dict[str, list[Finding]]] = {}
    number = 0
    for finding in findings:
        if finding.severity == severity and not finding.before:
            number += 1
            where = same.setdefault(finding.message, {})
            where.setdefault(finding.step, []).append(finding)
    if not same:
        return ""
    lines = [paint(f"{severity.upper()}S ({number})", _SEVERITIES[severity])]
    for message, steps in same.items():
        lines += [f"  {line}" for line in wrap(escape(message), _less(width, 2))]
        for step, found in steps.items():
            if step != RECORDING:
                places = wrap(f"{step}: {_where(found)}", _less(width, 4))
                lines += [_INDENT + paint(line, "faint") for line in places]
    return "\n".join(lines)


def _where(findings: list[Finding]) -> str:
    """Each subject with its events."""
    events: dict[str, list[int]] = {}
    for finding in findings:
        events.setdefault(finding.subject, []).extend(finding.events)
    times = Counter(finding.subject for finding in findings)
    return ", ".join(
        f"{escape(subject)}{f' ({times[subject]} times)' if times[subject] > 1 else ''}"
        f"{_events(numbers)}"
        for subject, numbers in events.items()
    )


def _events(events: list[int]) -> str:
    if not events:
        return ""
    shown = ", ".join(map(str, events[:_MOST_EVENTS]))
    more = f" and {len(events) - _MOST_EVENTS} more" if len(events) > _MOST_EVENTS else ""
    return f" [event{'s' if len(events) > 1 else ''} {shown}{more}]"


def _less(width: int | None, indent: int) -> int | None:
    return None if width is None else width - indent


def _procedure(result: Result, width: int | None, paint: Paint) -> str:
    taken = {step.id for step in result.steps}
    lines = [paint("PROCEDURE", "heading")]
    for step in PROFILES[result.profile]:
        if step.id in taken:
            first, *rest = wrap(f"{step.id}: {step.text}", _less(width, 4))
            lines.append(f"  {paint(step.id, 'name')}{first.removeprefix(step.id)}")
            lines += [_INDENT + part for part in rest]
            lines += [_INDENT + part for part in wrap(step.source, _less(width, 4))]
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    good = sum(step.ok is True for step in result.steps)
    before = sum(step.before for step in result.steps)
    severities = Counter(finding.severity for finding in result.findings if not finding.before)
    parts = [f"{good} of {count(len(result.steps) - before, 'step')} passed"]
    parts += [f"{before} came before the recording"] if before else []
    parts += [count(severities[s], s) for s in _SEVERITIES if severities[s]]
    unplaced = count(result.unplaced, "device") if result.unplaced else ""
    rest = f"; {unplaced} of the host not placed in the guest" if unplaced else ""
    asked = sorted(result.scope.addresses or result.scope.drivers)
    where = f"; {escape(', '.join(asked))}" if asked else ""
    return f"{result.verdict} (profile {result.profile}{where}): {', '.join(parts)}{rest}"
