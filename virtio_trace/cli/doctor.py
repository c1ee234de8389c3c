# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace doctor: whether this machine can trace, and if not, why and what to do."""

from __future__ import annotations

import click

from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.prerequisites import prerequisites
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.render.escape import escape
from virtio_trace.tracer.ftrace.sweep import sweep

_STATUS_CANNOT = 3

_EXAMPLES = (Example("Check everything, as record would find it", "sudo virtio-trace doctor"),)


@click.command(cls=Command, examples=_EXAMPLES)
def command() -> int:
    """Check whether this machine can trace, and say what is missing.

    Prints each prerequisite, found or not, and how to get it. Removes the tracefs events of a
    recorder that was killed.
    """
    kernel = HostKernel()
    click.echo(f"kernel {kernel.release} on {kernel.machine}")
    missing = 0
    for name, ask in prerequisites(kernel):
        answer = ask()
        if answer.ok:
            click.echo(f"  yes  {name}")
            continue
        missing += 1
        click.echo(f"  NO   {name}: {answer.reason}")
        if answer.hint:
            click.echo(f"         {answer.hint}")
    _sweep(kernel)
    if missing:
        click.echo("This machine cannot trace. virtio-trace boot traces another kernel, in QEMU.")
        return _STATUS_CANNOT
    click.echo("This machine can trace.")
    return 0


def _sweep(kernel: HostKernel) -> None:
    """Remove the tracefs events of recorders that were killed."""
    tracefs = kernel.tracefs()
    if tracefs is None:
        return
    try:
        swept = sweep(tracefs)
    except CannotTraceError as error:
        click.echo(f"  {error}")
        return
    for group in swept.removed:
        click.echo(f"removed the tracefs events of a recorder that was killed: {group}")
    for line in swept.kept:
        click.echo(f"left by a recorder that was killed: {escape(line)}")
        click.echo("  stop what uses it, then run virtio-trace doctor again")
