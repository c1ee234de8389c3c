# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of the bindings as PNG, drawn by what this machine has: our SVG by rsvg-convert or
CairoSVG, or our DOT by graphviz."""

from __future__ import annotations

import io
import subprocess
from typing import Any, BinaryIO

from virtio_trace.errors import CannotTraceError
from virtio_trace.render.dot import dot
from virtio_trace.render.svg import svg

_HINT = "apt install librsvg2-bin, or use --format svg"
_TIMEOUT_S = 120
_SCALE = 2


def png(report: dict[str, Any], out: BinaryIO) -> None:
    """Write REPORT (report.summary.summary) as PNG. Raises CannotTraceError if nothing here can."""
    source = io.BytesIO()
    svg(report, source)
    drawn = _run(["rsvg-convert", "--zoom", str(_SCALE)], source.getvalue())
    if drawn is None:
        drawn = _by_cairosvg(source.getvalue())
    if drawn is None:
        text = io.StringIO()
        dot(report, text)
        drawn = _run(["dot", "-Tpng"], text.getvalue().encode("utf-8", "backslashreplace"))
    if drawn is None:
        raise CannotTraceError(
            "a PNG needs rsvg-convert, CairoSVG or graphviz, and none of them is installed", _HINT
        )
    out.write(drawn)


def _run(command: list[str], source: bytes) -> bytes | None:
    """What COMMAND makes of SOURCE; None if it is not installed. Raises CannotTraceError."""
    try:
        done = subprocess.run(
            command, input=source, capture_output=True, check=True, timeout=_TIMEOUT_S
        )
    except FileNotFoundError:
        return None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip() or f"status {error.returncode}"
        raise CannotTraceError(f"{command[0]} failed: {said}", _HINT) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotTraceError(f"{command[0]} failed: {error}", _HINT) from error
    return done.stdout


def _by_cairosvg(source: bytes) -> bytes | None:
    """None if CairoSVG, or the library cairo that it needs, is not installed."""
    try:
        import cairosvg  # noqa: PLC0415 - optional
    except (ImportError, OSError):
        return None
    drawn: bytes = cairosvg.svg2png(bytestring=source, scale=_SCALE)
    return drawn
