# SPDX-License-Identifier: GPL-2.0-or-later
"""A check as JUnit XML, for Jenkins, GitLab, GitHub's actions and most other CI systems.

The schema is junit-10.xsd of Jenkins' xUnit plugin. A recording is a suite; a subject is a class,
and a step a case. The file is ASCII: what is not, is a character reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from virtio_trace.check.findings import Result
from virtio_trace.render.escape import escape
from virtio_trace.report import cases
from virtio_trace.report.about import About
from virtio_trace.report.cases import Case

_SUITE = "virtio-trace"
_ELEMENTS = {
    cases.FAILED: "failure",
    cases.BROKEN: "error",
    cases.UNKNOWN: "skipped",
    cases.BEFORE: "skipped",
}
"""What is unknown is skipped; that the verdict is then INCOMPLETE is an error, in its own case."""


def junit(result: Result, out: TextIO, *, about: About) -> None:
    """Write RESULT, the check of the recording ABOUT."""
    write(cases.cases(result), out, about, properties(result))


def properties(result: Result) -> dict[str, str]:
    """What a suite says of RESULT."""
    return {"profile": result.profile, "verdict": result.verdict}


def write(
    found: Sequence[Case], out: TextIO, about: About | None, properties: dict[str, str]
) -> None:
    """Write the cases FOUND of a recording. ABOUT is None if there is none."""
    known = dict(properties)
    if about is not None:
        known |= {
            "kernel": about.release,
            "machine": about.machine,
            "recording": about.id,
            "tool": about.tool,
        }
    elements = Counter(_ELEMENTS.get(case.outcome, "passed") for case in found)
    counts = (
        f"tests={_value(str(len(found)))} failures={_value(str(elements['failure']))} "
        f"errors={_value(str(elements['error']))}"
    )
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write(f"<testsuites name={_value(_SUITE)} {counts}>\n")
    skipped = _value(str(elements["skipped"]))
    out.write(f" <testsuite name={_value(_SUITE)} {counts} skipped={skipped}>\n  <properties>\n")
    for name, value in known.items():
        out.write(f"   <property name={_value(name)} value={_value(value)}/>\n")
    out.write("  </properties>\n")
    for case in found:
        _case(case, out)
    out.write(" </testsuite>\n</testsuites>\n")


def _case(case: Case, out: TextIO) -> None:
    # Jenkins takes what is before the last dot of a class for its package: addresses have dots.
    # GitLab shows the name alone.
    subject = case.subject.replace(".", "_")
    name = case.step if case.step == case.subject else f"{case.subject} {case.step}"
    out.write(f"  <testcase classname={_value(f'{_SUITE}.{subject}')} name={_value(name)}")
    element = _ELEMENTS.get(case.outcome)
    if element is None and not case.remarks:
        out.write("/>\n")
        return
    out.write(">\n")
    if element is not None:
        message = case.why[0] if case.why else case.outcome
        lines = [f"{case.subject}: {case.step}", *([case.text] if case.text else []), *case.why]
        out.write(f"   <{element} type={_value(case.outcome)} message={_value(message)}>")
        out.write(f"{_lines(lines)}</{element}>\n")
    if case.remarks:
        out.write(f"   <system-out>{_lines(case.remarks)}</system-out>\n")
    out.write("  </testcase>\n")


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(map(_text, lines))


def _value(text: str) -> str:
    return f'"{_text(text)}"'


def _text(text: str) -> str:
    """TEXT in an element or an attribute. escape() leaves no character that XML 1.0 forbids."""
    plain = escape(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace('"', "&quot;").encode("ascii", "xmlcharrefreplace").decode("ascii")
