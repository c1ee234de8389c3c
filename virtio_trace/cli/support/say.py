# SPDX-License-Identifier: GPL-2.0-or-later
"""What is not a result goes to standard error, and no trouble there ends the work."""

from __future__ import annotations

import contextlib

import click

from virtio_trace.render.escape import escape


def say(message: str) -> None:
    """A line of information."""
    with contextlib.suppress(OSError):
        click.echo(f"virtio-trace: {escape(message)}", err=True)


def warn(message: str) -> None:
    """A line that the user should not miss."""
    say(f"warning: {message}")
