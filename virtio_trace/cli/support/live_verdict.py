# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of a verdict at the end of ``record``."""

from __future__ import annotations

from virtio_trace.check.findings import NOTE
from virtio_trace.check.scope import Scope
from virtio_trace.cli.support import asked
from virtio_trace.cli.support.say import say, warn
from virtio_trace.recording.source import Source
from virtio_trace.render.before import before_line

_MOST = 10
"""Findings that are printed."""


def say_verdict(recording: Source, scope: Scope) -> int:
    """Print the verdict on SCOPE; return its exit status. Raises BadInputError."""
    result = asked.judge_scope(recording, scope, live=True)
    found = [f for f in result.findings if f.severity != NOTE and not f.before]
    for finding in found[:_MOST]:
        warn(f"{finding.subject}: {finding.step}: {finding.message}")
    if len(found) > _MOST:
        warn(f"and {len(found) - _MOST} more: virtio-trace check shows all")
    if before := before_line(result):
        say(before)
    steps = [step for step in result.steps if not step.before]
    good = sum(step.ok is True for step in steps)
    what = ", ".join(sorted(result.scope.addresses or result.scope.drivers))
    say(f"{result.verdict}: {what}: {good} of {len(steps)} steps passed")
    return asked.STATUS[result.verdict]
