# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace graph: the bus/driver binding graph."""

from __future__ import annotations

import click

from virtio_trace.cli.support import options
from virtio_trace.graph import builder
from virtio_trace.render.dot import dot
from virtio_trace.render.svg import svg
from virtio_trace.report.summary import summarize


@click.command()
@options.file_argument
@options.output_options("dot", "svg", file=True)
def command(file: str, style: str, output: str, verbose: bool) -> int:
    """Draw which driver bound which device, from the recording FILE.

    FILE is virtio-trace.vtr where none is named; - is standard input. svg needs graphviz.
    """
    summary = summarize(builder.build(options.load(file, verbose)))
    with options.result_output(output, file) as out:
        if style == "svg":
            svg(summary, out)
        else:
            dot(summary, out)
    return 0
