# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace report: devices, drivers and bindings."""

from __future__ import annotations

import click

from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.graph import builder


@click.command()
@options.file_argument
@options.output_options("report", file=True)
def command(file: str, row: formats.Format, output: str, verbose: bool) -> int:
    """Show the devices, drivers and bindings of the recording FILE.

    FILE is virtio-trace.vtr where none is named; - is standard input. perfetto is a timeline that
    ui.perfetto.dev opens. Exits with 0 whenever it could be read; what it lacks is a warning.
    """
    graph = builder.build(reading.load(file, verbose))
    results.show(row, graph, file=output, source=file)
    return 0
