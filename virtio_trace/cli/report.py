# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace report: devices, drivers and bindings."""

from __future__ import annotations

import click

from virtio_trace.cli.support import asked, formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example

_EXAMPLES = (
    Example("Show virtio-trace.vtr", "virtio-trace report"),
    Example(
        "Write a timeline for ui.perfetto.dev",
        "virtio-trace report --format perfetto -o boot.json boot.vtr",
    ),
)


@click.command(cls=Command, examples=_EXAMPLES)
@options.file_argument
@options.scope_options
@options.output_options("report", file=True)
def command(
    *,
    file: str,
    devices: tuple[str, ...],
    drivers: tuple[str, ...],
    row: formats.Format,
    output: str,
    verbose: bool,
) -> int:
    """Show the devices, drivers and bindings of a recording.

    FILE defaults to virtio-trace.vtr; - is standard input. html is a page of one file, with the
    verdict, the events and the recording in it; perfetto is a timeline for ui.perfetto.dev; otlp
    has the calls as spans for OpenTelemetry. The exit status is 0 if the recording can be read;
    lost events and missing probes are warnings.
    """
    with reading.opened(file) as whole:
        recording = asked.of(whole, devices, drivers)
        results.show(
            row,
            recording,
            file=output,
            source=file,
            verbose=verbose,
            prepared=lambda: reading.warn_lacks(recording, verbose),
        )
    return 0
