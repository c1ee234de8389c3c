# SPDX-License-Identifier: GPL-2.0-or-later
"""A check as Markdown, for a job's summary (GitHub, GitLab) or a comment.

It is GitHub's Markdown. GitHub refuses a summary of more than 1 MiB, so tables have a limited
number of rows, and cells a limited length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TextIO

from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, RECORDING, Result
from virtio_trace.render.escape import escape
from virtio_trace.render.grouped import groups, shortened
from virtio_trace.report import cases
from virtio_trace.report.about import About
from virtio_trace.report.cases import verdict_line

_SIGNS = {CONFORMS: "✅", DEVIATES: "❌", INCOMPLETE: "⚠️"}
_ROWS = 300
_MOST_PLACES = 20
_LONGEST = 1000
"""Characters of a cell, before they are escaped."""

_SPECIAL = re.compile(r"[\\`*_\[\]<>&|#~@$!]|:(?=//)|(?<=www)\.")
"""What begins markup within a line, a formula, a link or a mention. A backslash before ASCII
punctuation makes it plain (CommonMark, 2.4)."""

_OUTCOMES = (cases.PASSED, cases.FAILED, cases.UNKNOWN, cases.BEFORE)


def markdown(result: Result, out: TextIO, *, about: About) -> None:
    """Write RESULT, the check of the recording ABOUT."""
    out.write(f"### {_SIGNS[result.verdict]} VirtIO: {_text(verdict_line(result))}\n\n")
    out.write(f"Kernel {_text(about.release)} ({_text(about.machine)}), {_text(about.tool)}\n")
    found = list(groups(result))
    if found:
        rows = ([g.severity, g.message, shortened(g.places, _MOST_PLACES)] for g in found)
        _table(("severity", "finding", "where"), rows, len(found), out)
    whole = (RECORDING, cases.VERDICT)
    counts: dict[str, Counter[str]] = {}
    for case in cases.cases(result):
        if case.subject not in whole:
            counts.setdefault(case.subject, Counter())[case.outcome] += 1
    if counts:
        out.write("\n<details><summary>Steps of each device and driver</summary>\n")
        by_subject = (
            [subject, *(str(count[outcome] or "-") for outcome in _OUTCOMES)]
            for subject, count in counts.items()
        )
        _table(("subject", *_OUTCOMES), by_subject, len(counts), out)
        out.write("\n</details>\n")


def _table(head: tuple[str, ...], rows: Iterable[list[str]], number: int, out: TextIO) -> None:
    out.write("\n")
    out.writelines(_lines(head, rows))
    if number > _ROWS:
        out.write(f"\n{number - _ROWS} more are not shown.\n")


def _lines(head: tuple[str, ...], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n"
    yield f"|{'---|' * len(head)}\n"
    for row in islice(rows, _ROWS):
        yield f"| {' | '.join(map(_text, row))} |\n"


def _text(text: str) -> str:
    """TEXT, of which nothing is markup, a link or a mention."""
    plain = escape(text)
    if len(plain) > _LONGEST:
        plain = f"{plain[: _LONGEST - 1]}…"
    return _SPECIAL.sub(_plain, plain)


def _plain(found: re.Match[str]) -> str:
    # GitHub finds entities before it looks for markup, and mentions after it.
    entity = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;&#8203;"}
    return entity.get(found[0], f"\\{found[0]}")
