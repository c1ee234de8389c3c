# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix as JUnit XML: a boot is a test case, its kernel and board the class."""

from __future__ import annotations

from typing import TextIO

from virtio_trace.matrix.case import ERROR, FAILED, OK
from virtio_trace.matrix.summary import Summary
from virtio_trace.render import junit
from virtio_trace.render.matrix_text import died
from virtio_trace.report import cases
from virtio_trace.report.cases import Case

_OUTCOMES = {OK: cases.PASSED, FAILED: cases.FAILED, ERROR: cases.BROKEN}


def matrix_junit(summary: Summary, out: TextIO) -> None:
    """Write SUMMARY. A case without a result is an error, and one that was retried says so."""
    found = []
    for result in summary.results:
        subject, step = _names(result.name)
        case = Case(subject, step, _OUTCOMES[result.status], "as expected", list(result.why))
        if result.retries:
            case.remarks.append(f"it ran {len(result.attempts)} times; {died(result)}")
        found.append(case)
    for name in summary.missing:
        found.append(Case(*_names(name), cases.BROKEN, "as expected", ["there is no result"]))
    properties = {"matrix": summary.name, "shard": "{}/{}".format(*summary.shard)}
    junit.write(found, out, None, properties)


def _names(name: str) -> tuple[str, str]:
    kernel, board, number = name.split("/")
    return f"{kernel}/{board}", f"boot {number}"
