# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON for machines: what docs/formats.md promises, ASCII whatever a name holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:  # what a command that checks nothing need not wait for
    from virtio_trace.check.findings import Result

CHECK_SCHEMA = "virtio-trace/check/1"


def report(summary: dict[str, Any], out: TextIO) -> None:
    """Write a report (report.summarize)."""
    _document(summary, out)


def inspection(found: dict[str, Any], out: TextIO) -> None:
    """Write what a kernel's files say (Inspection.to_json)."""
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
        },
        out,
    )


def line(thing: dict[str, Any], out: TextIO) -> None:
    """Write one line of JSON Lines."""
    out.write(json.dumps(thing, separators=(",", ":")) + "\n")


def _document(thing: dict[str, Any], out: TextIO) -> None:
    # one call: json.dump writes a token at a time and never uses the C encoder
    out.write(json.dumps(thing, indent=2))
    # On its own: with PYTHONUNBUFFERED, Python takes a write that was cut short for a whole one,
    # and only the next one fails.
    out.write("\n")
