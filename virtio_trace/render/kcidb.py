# SPDX-License-Identifier: GPL-2.0-or-later
"""A check as a submission to KCIDB, the database of KernelCI. The file is written, not sent.

The schema is version 5.3, which kcidb-io defines and holds this to. Identifiers are made of the
recording's content, so writing it again changes nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, TextIO

from virtio_trace.check.findings import RECORDING, Result
from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.render.escape import escape
from virtio_trace.report import cases
from virtio_trace.report.about import About
from virtio_trace.report.cases import Case

ORIGIN = "virtio_trace"
"""The origin if none is named. KernelCI gives each CI system a name of its own."""

_STATUS = {
    cases.PASSED: "PASS",
    cases.FAILED: "FAIL",
    cases.UNKNOWN: "MISS",
    cases.BEFORE: "SKIP",
    cases.BROKEN: "ERROR",
}
_ARCHITECTURES = {"aarch64": "arm64"}
"""As the kernel names them, where uname(2) has another name."""

_ROOT = "virtio_trace"
_LONGEST = 16384
"""Characters of a log excerpt."""

_HINT = "pip install kcidb-io, or in a clone of virtio-trace: pip install '.[ci]'"


def check(origin: str, build: str | None) -> Any:
    """The schema, for a submission by ORIGIN about BUILD. Raises CannotTraceError without kcidb-io,
    UsageError for an invalid name."""
    if re.fullmatch(r"[a-z0-9_]+", origin) is None:
        raise UsageError(
            f"{escape(origin)!r} is not an origin", "lower-case letters, digits and _ only"
        )
    if build is not None and re.fullmatch(r"[a-z0-9_]+:[^\0]*", build) is None:
        raise UsageError(f"{escape(build)!r} is not the id of a build", "for example: maestro:1a2b")
    try:
        from kcidb_io.schema import LATEST  # noqa: PLC0415 - optional
    except ImportError as error:
        raise CannotTraceError("--format kcidb needs the Python package kcidb-io", _HINT) from error
    return LATEST


def kcidb(result: Result, out: TextIO, *, about: About, origin: str, build: str | None) -> None:
    """Write RESULT, the check of the recording ABOUT, as tests by ORIGIN of BUILD.

    BUILD is the id of a build that KCIDB has. If it is None, a checkout and a build without
    details are added. Raises as check().
    """
    schema = check(origin, build)
    written: dict[str, Any] = schema.new()
    if build is None:
        build = f"{origin}:{_slug(about.release)}_{_slug(about.machine)}"
        written["checkouts"] = [
            {"id": build, "origin": origin, "comment": f"Linux {escape(about.release)}"}
        ]
        written["builds"] = [
            {
                "id": build,
                "origin": origin,
                "checkout_id": build,
                "architecture": _ARCHITECTURES.get(about.machine, _slug(about.machine)),
            }
        ]
    found = cases.cases(result)
    paths = _paths(found)
    written["tests"] = [_test(case, paths[case.subject], about, origin, build) for case in found]
    json.dump(schema.validate(written), out, indent=2)
    out.write("\n")


def _test(case: Case, subject: str, about: About, origin: str, build: str) -> dict[str, Any]:
    whole = case.subject in (cases.VERDICT, RECORDING)
    path = f"{_ROOT}.{subject}" if whole else f"{_ROOT}.{subject}.{_slug(case.step)}"
    test: dict[str, Any] = {
        "id": f"{origin}:{about.id}-{path}",
        "origin": origin,
        "build_id": build,
        "path": path,
        "status": _STATUS[case.outcome],
        "comment": escape(f"{case.subject}: {case.text or case.step}"),
        "environment": {"comment": f"Linux {escape(about.release)} on {escape(about.machine)}"},
        "misc": {"tool": about.tool, "recording": about.id, "subject": escape(case.subject)},
    }
    lines = [*case.why, *case.remarks]
    if lines:
        test["log_excerpt"] = "".join(f"{escape(line)}\n" for line in lines)[:_LONGEST]
    return test


def _paths(found: Sequence[Case]) -> dict[str, str]:
    """The element of a test's path for each subject. Two that would be the same get a hash each."""
    plain = {case.subject: _slug(case.subject) for case in found}
    times = Counter(plain.values())
    return {
        subject: slug if times[slug] == 1 else f"{slug}-{sha256(_bytes(subject)).hexdigest()[:8]}"
        for subject, slug in plain.items()
    }


def _slug(text: str) -> str:
    """TEXT in the characters that a path may have: 0000:00:02.0 is 0000_00_02_0."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text) or "_"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
