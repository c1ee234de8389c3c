# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages on standard error. Errors of standard error are ignored."""

from __future__ import annotations

import contextlib
import sys

import click

from virtio_trace.cli.support import status, terminal
from virtio_trace.render.escape import escape


def say(message: str) -> None:
    """Print a line of information."""
    with status.above(), contextlib.suppress(OSError):
        text, out = f"virtio-trace: {escape(message)}", sys.stderr
        click.echo(text if out is None else terminal.fold(text, out, 2), err=True)


def warn(message: str) -> None:
    """Print a warning."""
    say(f"warning: {message}")
