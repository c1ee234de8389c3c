# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix as text: a line a case while it runs, and kernels by boards at its end."""

from __future__ import annotations

from collections.abc import Iterator

from virtio_trace.matrix.case import ERROR, FAILED, OK, CaseResult
from virtio_trace.matrix.summary import Summary
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import Cell, grid_lines
from virtio_trace.render.words import Paint, count

_STYLES = {OK: "good", FAILED: "bad", ERROR: "unsure"}
_WORDS = {OK: "ok", FAILED: "FAILED", ERROR: "ERROR"}


def case_line(result: CaseResult, paint: Paint) -> str:
    """``ok      6.1/default/1  14.2 s  CONFORMS, 3 devices``."""
    word = paint(f"{_WORDS[result.status]:<7}", _STYLES[result.status])
    known = [result.verdict] if result.verdict and not result.why else []
    if result.devices:
        known.append(count(result.devices, "device"))
    if result.retries:
        known.append(f"attempt {len(result.attempts)}: {died(result)}")
    text = "; ".join([*result.why[:2], ", ".join(known)] if known else result.why[:2])
    return f"{word} {escape(result.name)}  {result.seconds:.1f} s  {escape(text)}"


def died(result: CaseResult) -> str:
    """What became of the attempts before the last one."""
    return "; ".join(f"before, {attempt.why}" for attempt in result.attempts[:-1])


def summary_lines(summary: Summary, width: int | None, paint: Paint) -> Iterator[str]:
    """The table, what is wrong, and the total."""
    cells = summary.cells()
    rows: list[list[Cell]] = []
    for kernel in summary.kernels:
        row: list[Cell] = [kernel]
        for board in summary.boards:
            cell = cells.get((kernel, board))
            style = _STYLES.get(cell.worst or "", "unsure") if cell else "faint"
            row.append((cell.text, style) if cell else ("-", style))
        if any(one != ("-", "faint") for one in row[1:]):
            rows.append(row)
    yield from grid_lines(["kernel", *summary.boards], rows, width, paint)
    yield ""
    for result in summary.results:
        if result.status != OK:
            yield f"{paint(_WORDS[result.status], _STYLES[result.status])} {escape(result.name)}"
            yield from (f"  {escape(line)}" for line in result.why)
    for name in summary.missing[:20]:
        yield f"{paint('MISSING', 'unsure')} {escape(name)}"
    if len(summary.missing) > 20:
        yield f"and {len(summary.missing) - 20} more"
    yield total_line(summary)


def total_line(summary: Summary) -> str:
    """``12 cases: 10 ok, 1 failed, 1 error; 2 retried``."""
    parts = [f"{summary.count(status)} {status}" for status in (OK, FAILED, ERROR)]
    if summary.missing:
        parts.append(f"{len(summary.missing)} missing")
    number = len(summary.results) + len(summary.missing)
    text = f"{count(number, 'case')}: {', '.join(p for p in parts if not p.startswith('0 '))}"
    if summary.retries:
        text += f"; {count(summary.retries, 'guest')} died of emulation and ran again"
    first, of = summary.shard
    return text if of == 1 else f"{text} (shard {first} of {of})"
