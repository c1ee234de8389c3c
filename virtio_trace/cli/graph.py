# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace graph: the bus/driver binding graph."""

from __future__ import annotations

import click

from virtio_trace.cli.support import asked, formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example

_EXAMPLES = (Example("Draw a picture", "virtio-trace graph --format svg -o graph.svg"),)


@click.command(cls=Command, examples=_EXAMPLES)
@options.file_argument
@options.scope_options
@options.output_options("graph", file=True)
def command(
    *,
    file: str,
    devices: tuple[str, ...],
    drivers: tuple[str, ...],
    row: formats.Format,
    output: str,
    verbose: bool,
) -> int:
    """Draw which driver bound which device in a recording.

    Devices are on the left, in order of address, drivers on the right. A device that is not bound
    has the reason in its box.

    FILE defaults to virtio-trace.vtr; - is standard input. png needs rsvg-convert (librsvg2-bin),
    CairoSVG or graphviz; svg needs nothing. dot is for graphviz.
    """
    with reading.opened(file) as whole:
        recording = asked.of(whole, devices, drivers)
        results.show(
            row,
            recording,
            file=output,
            source=file,
            prepared=lambda: reading.warn_lacks(recording, verbose),
        )
    return 0
