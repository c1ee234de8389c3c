# SPDX-License-Identifier: GPL-2.0-or-later
"""The binding graph as SVG, drawn by graphviz. No other file runs graphviz."""

from __future__ import annotations

import io
import subprocess
from typing import Any, BinaryIO

from virtio_trace.errors import CannotTraceError
from virtio_trace.render.dot import dot

_HINT = "apt install graphviz, or use --format dot"
_TIMEOUT_S = 120


def svg(report: dict[str, Any], out: BinaryIO) -> None:
    """Write REPORT (report.summary.summarize) as SVG. Raises CannotTraceError without graphviz."""
    source = io.StringIO()
    dot(report, source)
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"],
            input=source.getvalue().encode("utf-8", "backslashreplace"),
            capture_output=True,
            check=True,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise CannotTraceError("graphviz is not installed: no dot program found", _HINT) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotTraceError(f"graphviz failed: {error}", _HINT) from error
    out.write(done.stdout.rstrip(b"\n") + b"\n")
