# SPDX-License-Identifier: GPL-2.0-or-later
"""A check as annotations of a GitHub Actions job: workflow commands on standard output.

GitHub shows ten annotations of a kind for each step, and drops the others without a word. So there
are never more than ten: a message is one, whatever it is about, and the last one is the verdict,
which counts those that are not shown.
"""

from __future__ import annotations

from typing import TextIO

from virtio_trace.check.findings import ERROR, WARNING, Result
from virtio_trace.render.escape import escape
from virtio_trace.render.grouped import groups, shortened
from virtio_trace.report.cases import verdict_line

MOST = 10
"""Annotations, with the verdict."""

_MOST_PLACES = 20


def github(result: Result, out: TextIO) -> None:
    """Write RESULT: errors, then warnings, then the verdict as a notice."""
    found = list(groups(result, (ERROR, WARNING)))
    for group in found[: MOST - 1]:
        where = shortened(group.places, _MOST_PLACES)
        out.write(_command(group.severity, "VirtIO", f"{group.message} [{where}]"))
    hidden = len(found) - (MOST - 1)
    more = f"; {hidden} more not shown here" if hidden > 0 else ""
    out.write(_command("notice", "VirtIO verdict", f"{verdict_line(result)}{more}"))


def _command(name: str, title: str, message: str) -> str:
    """A workflow command. The runner undoes these escapes (actions/toolkit, command.ts)."""
    data = escape(message).replace("%", "%25")
    return f"::{name} title={title}::{data}\n"
