# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace script: the events of a recording in order."""

from __future__ import annotations

import click

from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError
from virtio_trace.recording.events import MODULE, Event
from virtio_trace.recording.reader import Recording
from virtio_trace.render.script import Selection

_EXAMPLES = (
    Example("Print what happened to a device", "virtio-trace script --device 0000:00:05.0"),
)


@click.command(cls=Command, examples=_EXAMPLES)
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
    recording = reading.load(file, verbose)
    events = recording.events
    if device is not None:
        events = _of_device(events, device)
    if driver is not None:
        events = _of_driver(recording, events, driver)
    results.show(row, Selection(recording, events))
    return 0


def _of_device(events: list[Event], address: str) -> list[Event]:
    found = [e for e in events if e.device is not None and e.device.address == address]
    if not found:
        there = sorted({e.device.address for e in events if e.device is not None})
        raise UsageError(
            f"the recording has no event of device {address}", _choices("devices", there)
        )
    return found


def _of_driver(recording: Recording, events: list[Event], name: str) -> list[Event]:
    """The events of driver NAME, and the load of its module."""
    facts = recording.header.evidence.driver(name)
    module = facts.module if facts else None
    found = [e for e in events if e.driver == name or (e.kind == MODULE and e.module == module)]
    if not any(e.driver == name for e in found):
        there = sorted({e.driver for e in events if e.driver is not None})
        raise UsageError(f"the recording has no event of driver {name}", _choices("drivers", there))
    return found


def _choices(what: str, names: list[str]) -> str:
    return f"it has: {', '.join(names)}" if names else f"it has no {what}"
