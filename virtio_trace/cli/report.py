# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace report: devices, drivers and bindings."""

from __future__ import annotations

import click

from virtio_trace.cli.support import options
from virtio_trace.graph import builder
from virtio_trace.render import json
from virtio_trace.render.perfetto import perfetto
from virtio_trace.render.table import table
from virtio_trace.report.summary import summarize


@click.command()
@options.file_argument
@options.output_options("table", "json", "perfetto", file=True)
def command(file: str, style: str, output: str, verbose: bool) -> int:
    """Show the devices, drivers and bindings of the recording FILE.

    FILE is virtio-trace.vtr where none is named; - is standard input. perfetto is a timeline that
    ui.perfetto.dev opens. Exits with 0 whenever it could be read; what it lacks is a warning.
    """
    built = builder.build(options.load(file, verbose))
    summary = summarize(built)
    with options.result_output(output, file) as out:
        if style == "json":
            json.report(summary, out)
        elif style == "perfetto":
            perfetto(built, summary, out)
        else:
            table(summary, out, options.width_of(out), options.paint_for(out))
    return 0
