# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages on standard error. Errors of standard error are ignored."""

from __future__ import annotations

import contextlib
import sys
import textwrap

import click

from virtio_trace.cli.support import status
from virtio_trace.cli.support.terminal import width_of
from virtio_trace.render.escape import escape


def say(message: str) -> None:
    """Print a line of information. A terminal gets it broken between words."""
    with status.above(), contextlib.suppress(OSError):
        click.echo(_broken(f"virtio-trace: {escape(message)}"), err=True)


def _broken(line: str) -> str:
    width = width_of(sys.stderr) if sys.stderr.isatty() else None
    if width is None or len(line) <= width:
        return line
    return textwrap.fill(
        line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def warn(message: str) -> None:
    """Print a warning."""
    say(f"warning: {message}")
