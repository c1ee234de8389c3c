# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace check: the recorded events against the expected procedure."""

from __future__ import annotations

import click

from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE
from virtio_trace.check.profiles import LINUX, PROFILES
from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.graph import builder

STATUS = {CONFORMS: 0, DEVIATES: 1, INCOMPLETE: 4}

_EXAMPLES = (
    Example("Check virtio-trace.vtr and print the source of each step", "virtio-trace check -v"),
    Example(
        "Check against the VirtIO specification, for programs",
        "virtio-trace check --profile spec --format json boot.vtr",
    ),
)


@click.command(cls=Command, examples=_EXAMPLES)
@options.file_argument
@click.option(
    "--profile",
    type=click.Choice(tuple(PROFILES)),
    default=LINUX,
    show_default=True,
    help="The expected procedure.",
)
@options.output_options("check")
def command(file: str, profile: str, row: formats.Format, verbose: bool) -> int:
    """Check a recording against the procedure that Linux follows.

    The procedure is how Linux registers and binds VirtIO devices and drivers. With --profile spec
    it is the VirtIO specification's for initialising a device (VirtIO 1.x, 3.1.1); known deviations
    of Linux are then notes.

    FILE defaults to virtio-trace.vtr; - is standard input. The exit status is 0 if the recording
    conforms, 1 if it deviates, 4 if it proves neither. -v shows the source of each step.
    """
    graph = builder.build(reading.load(file, verbose, warn_lacks=False))
    result = verdict.check(graph, profile)
    results.show(row, result, verbose=verbose)
    return STATUS[result.verdict]
