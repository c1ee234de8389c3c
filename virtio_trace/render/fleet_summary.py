# SPDX-License-Identifier: GPL-2.0-or-later
"""The summary of a lake as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from virtio_trace.render.grid import Cell, grid_lines, wrap
from virtio_trace.render.words import Paint, count, millis

_Row = dict[str, Any]
_STYLES = {"conforms": "good", "deviates": "bad", "incomplete": "unsure"}


def text(summary: _Row, out: TextIO, width: int | None, paint: Paint) -> None:
    """Write SUMMARY (fleet.summary.summarize)."""
    page = _Page(out, width, paint)
    for title, rows, columns in _TABLES:
        page.table(title, summary[rows], columns)
    if summary["worse"] is not None:
        _worse(summary["worse"], page)
    for line in wrap(_last(summary["boots"], len(summary["kernels"])), width):
        out.write(f"{line}\n")


def _plain(row: _Row, name: str) -> str:
    value = row[name]
    return "-" if value is None else str(value)


def _verdict(row: _Row, name: str) -> Cell:
    return (str(row[name]), _STYLES[name]) if row[name] else "0"


def _millis(row: _Row, name: str) -> str:
    return millis(row[f"{name}_ns"])


def _kernels(row: _Row, name: str) -> str:
    by_share: dict[float, list[str]] = {}
    for kernel, share in row[name].items():
        by_share.setdefault(share, []).append(kernel)
    return "; ".join(
        f"{_percent(share)}: {', '.join(by_share[share])}" for share in sorted(by_share)
    )


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f} %"


def _share(row: _Row, name: str) -> str:
    return _percent(row[name])


_Column = tuple[str, Callable[[_Row, str], Cell]]


def _columns(*names: str, **special: Callable[[_Row, str], Cell]) -> list[_Column]:
    return [(name, special.get(name, _plain)) for name in names]


_JUDGED = dict.fromkeys(_STYLES, _verdict)
_TIMES = dict.fromkeys(("p50", "p95", "p99", "max", "own"), _millis)

_TABLES: tuple[tuple[str, str, list[_Column]], ...] = (
    (
        "KERNELS",
        "kernels",
        _columns("kernel", "machine", "boots", *_STYLES, "first_seen", "last_seen", **_JUDGED),
    ),
    (
        "DEVICES BY TYPE",
        "types",
        _columns("type", "kernel", "devices", "bound", *_STYLES, **_JUDGED),
    ),
    (
        "STEPS THAT FAIL",
        "failing_steps",
        _columns(
            "step", "type", "boots", "failed", "results", "kernels", "first_seen", "last_seen"
        ),
    ),
    (
        "REASONS",
        "reasons",
        _columns(
            "severity", "step", "type", "boots", "kernels", "first_seen", "last_seen", "pattern"
        ),
    ),
    (
        "FEATURES THAT DIFFER BETWEEN KERNELS",
        "features",
        _columns("type", "feature", "what", "kernels", kernels=_kernels),
    ),
    (
        "TIME IN EACH PHASE, IN MILLISECONDS",
        "phases",
        _columns("type", "phase", "count", "p50", "p95", "p99", "max", **_TIMES),
    ),
    (
        "OUTLIERS, IN MILLISECONDS",
        "outliers",
        _columns("type", "phase", "ratio", "own", "p50", "day", "address", "source", **_TIMES),
    ),
)
"""Title, member of the summary, columns."""

_RIGHT = (
    "boots", "devices", "bound", *_STYLES, "failed", "results", "count", "p50", "p95", "p99", "max",
    "ratio", "own", "before", "since", "failed_before", "failed_since", "p95_before", "p95_since",
)  # fmt: skip
_SPARE = "results", "machine", "last_seen", "first_seen", "day"


@dataclass(frozen=True, slots=True)
class _Page:
    """Where the tables are written."""

    out: TextIO
    width: int | None
    paint: Paint

    def table(self, title: str, rows: Sequence[_Row], columns: list[_Column]) -> None:
        """Write a heading and a table, unless there are no ROWS."""
        if not rows:
            return
        self.out.write(self.paint(title, "heading") + "\n")
        heading = [name for name, _ in columns]
        cells = [[cell(row, name) for name, cell in columns] for row in rows]
        spare = [name for name in _SPARE if name in heading]
        lines = grid_lines(heading, cells, self.width, self.paint, spare=spare, right=_RIGHT)
        self.lines(lines)

    def lines(self, lines: Iterable[str]) -> None:
        """Write LINES, and an empty one."""
        for line in lines:
            self.out.write(f"{line}\n")
        self.out.write("\n")


def _worse(worse: _Row, page: _Page) -> None:
    title = f"WORSE SINCE {worse['since']}"
    shares = _columns(
        "step", "type", "failed_before", "failed_since", "before", "since",
        before=_share, since=_share,
    )  # fmt: skip
    page.table(f"{title}: STEPS", worse["steps"], shares)
    times = _columns(
        "type", "phase", "ratio", "p95_before", "p95_since", p95_before=_millis, p95_since=_millis
    )
    page.table(f"{title}: TIME IN MILLISECONDS", worse["phases"], times)
    page.lines(_worse_lines(worse, page.width))


def _worse_lines(worse: _Row, width: int | None) -> Iterator[str]:
    if not worse["boots_before"] or not worse["boots_since"]:
        side = "before" if not worse["boots_before"] else "since"
        yield from wrap(f"no boots {side} {worse['since']}: nothing to compare", width)
        return
    before = f"{count(worse['boots_before'], 'boot')} before {worse['since']}"
    yield from wrap(
        f"{before}: {_percent(worse['not_conforming_before'])} did not conform; "
        f"{worse['boots_since']} since: {_percent(worse['not_conforming_since'])}",
        width,
    )


def _last(boots: _Row, kernels: int) -> str:
    parts = [f"{boots[name] or 0} {name.upper()}" for name in _STYLES]
    return (
        f"{count(boots['boots'], 'boot')} from {boots['first_seen']} to {boots['last_seen']}, "
        f"{count(kernels, 'kernel')}: {', '.join(parts)}"
    )
