# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON as docs/formats.md describes it. It is ASCII, whatever names hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:  # commands that check nothing must not wait for it
    from virtio_trace.check.findings import Result

CHECK_SCHEMA = "virtio-trace/check/1"


def report(summary: dict[str, Any], out: TextIO) -> None:
    """Write a report (report.summary.summarize)."""
    _document(summary, out)


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
            "steps": [{"id": s.id, "subject": s.subject, "ok": s.ok} for s in result.steps],
            "findings": [
                {
                    "severity": f.severity,
                    "step": f.step,
                    "subject": f.subject,
                    "message": f.message,
                    "events": list(f.events),
                }
                for f in result.findings
            ],
            "unplaced": result.unplaced,
        },
        out,
    )


def line(thing: dict[str, Any], out: TextIO) -> None:
    """Write one line of JSON Lines."""
    out.write(json.dumps(thing, separators=(",", ":")) + "\n")


def _document(thing: dict[str, Any], out: TextIO) -> None:
    # json.dump writes token by token and never uses the C encoder
    out.write(json.dumps(thing, indent=2))
    out.write("\n")
