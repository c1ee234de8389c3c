# SPDX-License-Identifier: GPL-2.0-or-later
"""A check as KTAP version 1, which the kernel's own test tools, LAVA and KernelCI read.

The kernel describes it in Documentation/dev-tools/ktap.rst. A subject is a test with a subtest for
each step. Diagnostic lines come before the result that they explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from virtio_trace.check.findings import RECORDING, Result
from virtio_trace.render.escape import escape
from virtio_trace.report import cases
from virtio_trace.report.about import About
from virtio_trace.report.cases import Case

_DIRECTIVES = {cases.UNKNOWN: "SKIP", cases.BEFORE: "SKIP", cases.BROKEN: "ERROR"}
_WHOLE = (cases.VERDICT, RECORDING, cases.BOOT)
_BAD = (cases.FAILED, cases.BROKEN)
_INDENT = "  "


def ktap(result: Result, out: TextIO, *, about: About) -> None:
    """Write RESULT, the check of the recording ABOUT."""
    by_subject: dict[str, list[Case]] = {}
    for case in cases.cases(result):
        by_subject.setdefault(case.subject, []).append(case)
    out.write("KTAP version 1\n")
    out.write(f"# {_text(about.tool)}: kernel {_text(about.release)} {_text(about.machine)}\n")
    out.write(f"1..{len(by_subject)}\n")
    for number, (subject, same) in enumerate(by_subject.items(), 1):
        if subject in _WHOLE and len(same) == 1:
            _result(same[0], number, subject, "", out)
        else:
            _subject(subject, same, out)
            bad = any(case.outcome in _BAD for case in same)
            skipped = all(case.outcome in _DIRECTIVES for case in same)
            directive = " # SKIP nothing of it was recorded" if skipped and not bad else ""
            out.write(f"{'not ok' if bad else 'ok'} {number} {_text(subject)}{directive}\n")


def _subject(subject: str, same: Sequence[Case], out: TextIO) -> None:
    out.write(f"{_INDENT}KTAP version 1\n{_INDENT}# Subtest: {_text(subject)}\n")
    out.write(f"{_INDENT}1..{len(same)}\n")
    for number, case in enumerate(same, 1):
        _result(case, number, case.step, _INDENT, out)


def _result(case: Case, number: int, name: str, indent: str, out: TextIO) -> None:
    directive = _DIRECTIVES.get(case.outcome)
    why = case.why or ([case.outcome] if directive else [])
    for line in [*(case.why if directive is None else why[1:]), *case.remarks]:
        out.write(f"{indent}# {_text(name)}: {_text(line)}\n")
    ok = "not ok" if case.outcome in _BAD else "ok"
    end = f" # {directive} {_text(why[0])}" if directive else ""
    out.write(f"{indent}{ok} {number} {_text(name)}{end}\n")


def _text(text: str) -> str:
    """TEXT on one line. What is after a # would be taken for a directive."""
    return escape(text).replace("#", "\\x23")
