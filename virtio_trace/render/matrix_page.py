# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix as one HTML file that loads nothing, and links each case's report."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import TextIO

from virtio_trace.matrix import job as files
from virtio_trace.matrix.case import ERROR, FAILED, OK, CaseResult
from virtio_trace.matrix.summary import Cell, Summary
from virtio_trace.render.matrix_text import died, total_line
from virtio_trace.render.page.markup import Html, join, table, tag, text

_CLASSES = {OK: "good", FAILED: "bad", ERROR: "unsure"}
_MOST = 5000
"""Rows of a table: a browser must be able to show it. matrix.json has all."""


def matrix_page(summary: Summary, out: TextIO) -> None:
    """Write SUMMARY. Its file lies beside the folder cases/."""
    for part in _parts(summary):
        out.write(part.encode("ascii", "xmlcharrefreplace").decode("ascii"))


def _parts(summary: Summary) -> Iterator[str]:
    style = resources.files("virtio_trace.report").joinpath("html/page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{summary.name}: {total_line(summary)}"
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n'
    yield tag("meta", charset="utf-8")
    yield tag("meta", http_equiv="Content-Security-Policy", content=policy)
    yield tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    yield f"\n{tag('title', title)}\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
    yield tag("h1", f"Matrix {summary.name}")
    yield tag("p", total_line(summary))
    yield _grid(summary)
    wrong = [result for result in summary.results if result.status != OK]
    if wrong or summary.missing:
        yield tag("h2", "What is not as expected")
        yield _failures(wrong, summary.missing)
    yield tag("h2", "Cases")
    yield _cases(summary.results)
    yield "\n</main>\n</body>\n</html>\n"


def _grid(summary: Summary) -> Html:
    cells = summary.cells()
    rows = [
        [kernel, *(_cell(cells.get((kernel, board))) for board in summary.boards)]
        for kernel in summary.kernels
    ]
    return table(["kernel", *summary.boards], rows, "Kernels by boards of devices")


def _cell(cell: Cell | None) -> Html:
    if cell is None:
        return tag("td", "-", class_="none")
    shown = tag("span", cell.text, class_=_CLASSES.get(cell.worst or "", "unsure"))
    if len(cell.results) == 1:
        shown = tag("a", shown, href=_report(cell.results[0]))
    return tag("td", shown)


def _failures(wrong: list[CaseResult], missing: list[str]) -> Html:
    items = [
        tag(
            "li",
            tag("a", result.name, href=_report(result)),
            *(tag("p", line, class_="why") for line in result.why),
            class_="failed" if result.status == FAILED else None,
        )
        for result in wrong[:_MOST]
    ]
    items += [tag("li", f"{name}: there is no result") for name in missing[:_MOST]]
    return tag("ul", *items, class_="failures")


def _cases(results: list[CaseResult]) -> Html:
    rows = [
        [
            tag("a", result.name, href=_report(result)),
            tag("span", result.status, class_=_CLASSES[result.status]),
            result.verdict or "-",
            result.kernel_release or "-",
            str(result.devices),
            f"{result.seconds:.1f}",
            _attempts(result),
            _files(result),
        ]
        for result in results[:_MOST]
    ]
    heading = ["case", "result", "verdict", "kernel", "devices", "seconds", "attempts", "files"]
    shown = table(heading, rows)
    if len(results) <= _MOST:
        return shown
    more = f"The first {_MOST} of {len(results)} cases; matrix.json has all."
    return join(tag("p", more, class_="capped"), shown)


def _attempts(result: CaseResult) -> Html:
    if not result.retries:
        return text(str(len(result.attempts)))
    return tag("span", f"{len(result.attempts)} ({died(result)})", class_="unsure")


def _files(result: CaseResult) -> Html:
    names: tuple[str, ...] = (files.RECORDING, files.CONSOLE, files.LOG, files.CHECK)
    if result.verdict is None:
        names = (files.CONSOLE, files.LOG)
    links = [tag("a", name, href=f"cases/{result.name}/{name}") for name in names]
    return join(*(part for link in links for part in (link, " ")))


def _report(result: CaseResult) -> str:
    name = files.REPORT if result.verdict is not None else files.LOG
    return f"cases/{result.name}/{name}"
