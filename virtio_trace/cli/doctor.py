# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace doctor: whether this machine can trace, and if not, why and what to do."""

from __future__ import annotations

import sys

import click

from virtio_trace.cli.support import terminal
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.prerequisites import prerequisites
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running.abilities import Abilities, Answer
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.render.escape import escape
from virtio_trace.tracer.ftrace.sweep import sweep

_STATUS_CANNOT = 3

_EXAMPLES = (Example("Check everything, as record would find it", "sudo virtio-trace doctor"),)


@click.command(cls=Command, examples=_EXAMPLES)
def command() -> int:
    """Check whether this machine can trace, and say what is missing.

    Prints each prerequisite: found (yes), missing (NO), missing in part (part) or not known as
    another one is missing (?); and the command that mends it. Removes the tracefs events of a
    recorder that was killed. It is about record; virtio-trace help requirements lists what boot,
    matrix and fleet need.
    """
    kernel = HostKernel()
    abilities = Abilities(kernel)
    where = f", in {abilities.container}" if abilities.container else ""
    click.echo(f"kernel {kernel.release} on {kernel.machine}{escape(where)}")
    answers = [(name, ask()) for name, ask in prerequisites(abilities)]
    for name, answer in answers:
        said = f": {answer.reason}" if answer.reason else ""
        _print(f"  {_mark(answer):<4} {name}{said}", 7)
        if answer.ok is False and answer.hint:
            _print(f"         {answer.hint}", 9)
    _sweep(kernel)
    if any(answer.ok is False and not answer.partly for _, answer in answers):
        _print("This machine cannot trace. virtio-trace boot traces another kernel, in QEMU.")
        return _STATUS_CANNOT
    partly = any(answer.partly for _, answer in answers)
    click.echo("This machine can trace, but not all." if partly else "This machine can trace.")
    return 0


def _print(text: str, indent: int = 0) -> None:
    click.echo(terminal.fold(text, sys.stdout, indent))


def _mark(answer: Answer) -> str:
    if answer.ok is None:
        return "?"
    return "yes" if answer.ok else "part" if answer.partly else "NO"


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
        _print(f"left by a recorder that was killed: {escape(line)}", 2)
        click.echo("  stop what uses it, then run virtio-trace doctor again")
