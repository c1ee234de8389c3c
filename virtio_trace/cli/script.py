# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace script: the events of a recording in order."""

from __future__ import annotations

from collections import deque

import click

from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.errors import UsageError
from virtio_trace.render.script import Selection


@click.command()
@options.file_argument
@click.option("--device", metavar="ADDRESS", help="Only the events of this device.")
@click.option("--driver", metavar="NAME", help="Only the events of this driver.")
@options.output_options("script")
def command(
    file: str, device: str | None, driver: str | None, row: formats.Format, verbose: bool
) -> int:
    """Print the events of a recording in order, nested by call.

    FILE defaults to virtio-trace.vtr; - is standard input. json prints each event on a line as in
    the recording, with its depth.
    """
    with reading.opened(file, once=True) as recording:
        selection = Selection(recording, device, driver)
        if recording.is_repeatable:  # read it first: of a damaged file, nothing is printed
            deque(recording, maxlen=0)
            reading.warn_lacks(recording, verbose)
        results.show(row, selection, verbose=verbose)
        if not recording.is_repeatable:
            reading.warn_lacks(recording, verbose)
    if device is not None and device not in selection.devices:
        raise _none("device", device, selection.devices)
    if driver is not None and driver not in selection.drivers:
        raise _none("driver", driver, selection.drivers)
    return 0


def _none(what: str, name: str, there: set[str]) -> UsageError:
    choices = f"it has: {', '.join(sorted(there))}" if there else f"it has no {what}s"
    return UsageError(f"the recording has no event of {what} {name}", choices)
