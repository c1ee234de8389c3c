# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages on standard error. Errors of standard error are ignored."""

from __future__ import annotations

import contextlib

import click

from virtio_trace.cli.support import status
from virtio_trace.render.escape import escape


def say(message: str) -> None:
    """Print a line of information."""
    with status.above(), contextlib.suppress(OSError):
        click.echo(f"virtio-trace: {escape(message)}", err=True)


def warn(message: str) -> None:
    """Print a warning."""
    say(f"warning: {message}")
