# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace graph: the bus/driver binding graph."""

from __future__ import annotations

import click

from virtio_trace import graph
from virtio_trace.cli import common
from virtio_trace.render.dot import dot
from virtio_trace.render.svg import svg
from virtio_trace.report import summarize


@click.command()
@common.file_argument
@common.output_options("dot", "svg", file=True)
def command(file: str, style: str, output: str, verbose: bool) -> int:
    """Draw which driver bound which device, from the recording FILE.

    FILE is virtio-trace.vtr where none is named; - is standard input. svg needs graphviz.
    """
    summary = summarize(graph.build(common.load(file, verbose)))
    with common.result_output(output, file) as out:
        if style == "svg":
            svg(summary, out)
        else:
            dot(summary, out)
    return 0
