# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace check: what was seen against the expected procedure."""

from __future__ import annotations

import click

from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, LINUX, PROFILES
from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.graph import builder

STATUS = {CONFORMS: 0, DEVIATES: 1, INCOMPLETE: 4}


@click.command()
@options.file_argument
@click.option(
    "--profile",
    type=click.Choice(tuple(PROFILES)),
    default=LINUX,
    show_default=True,
    help="Which procedure is expected.",
)
@options.output_options("check")
def command(file: str, profile: str, row: formats.Format, verbose: bool) -> int:
    """Check the recording FILE against the procedure by which Linux binds VirtIO devices.

    With --profile spec, against the VirtIO specification's for initialising one (VirtIO 1.x,
    3.1.1), in which Linux's known deviations are notes.

    FILE is virtio-trace.vtr where none is named; - is standard input. Exits with 0 where it
    conforms, 1 where it deviates, and 4 where the recording cannot prove either. -v names each
    step's source.
    """
    graph = builder.build(reading.load(file, verbose, warn_lacks=False))
    result = verdict.check(graph, profile)
    results.show(row, result, verbose=verbose)
    return STATUS[result.verdict]
