# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace graph: the bus/driver binding graph."""

from __future__ import annotations

import click

from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.graph import builder

_EXAMPLES = (Example("Draw a picture", "virtio-trace graph --format svg -o graph.svg"),)


@click.command(cls=Command, examples=_EXAMPLES)
@options.file_argument
@options.output_options("graph", file=True)
def command(file: str, row: formats.Format, output: str, verbose: bool) -> int:
    """Draw which driver bound which device in a recording.

    FILE defaults to virtio-trace.vtr; - is standard input. svg needs graphviz.
    """
    graph = builder.build(reading.load(file, verbose))
    results.show(row, graph, file=output, source=file)
    return 0
