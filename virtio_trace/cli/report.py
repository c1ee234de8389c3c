# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace report: devices, drivers and bindings."""

from __future__ import annotations

import click

from virtio_trace import graph
from virtio_trace.cli import common
from virtio_trace.render import json
from virtio_trace.render.perfetto import perfetto
from virtio_trace.render.table import table
from virtio_trace.report import summarize


@click.command()
@common.file_argument
@common.output_options("table", "json", "perfetto", file=True)
def command(file: str, style: str, output: str, verbose: bool) -> int:
    """Show the devices, drivers and bindings of the recording FILE.

    FILE is virtio-trace.vtr where none is named; - is standard input. perfetto is a timeline that
    ui.perfetto.dev opens. Exits with 0 whenever it could be read; what it lacks is a warning.
    """
    built = graph.build(common.load(file, verbose))
    summary = summarize(built)
    with common.result_output(output, file) as out:
        if style == "json":
            json.report(summary, out)
        elif style == "perfetto":
            perfetto(built, summary, out)
        else:
            table(summary, out, common.width_of(out), common.paint_for(out))
    return 0
