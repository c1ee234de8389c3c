# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace script: the events in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

import click

from virtio_trace.cli.support import options
from virtio_trace.errors import UsageError
from virtio_trace.graph.calls import nest
from virtio_trace.recording.events import MODULE, Event
from virtio_trace.recording.reader import Recording
from virtio_trace.render import json
from virtio_trace.render.lines import Lines


@click.command()
@options.file_argument
@click.option("--device", metavar="ADDRESS", help="Only the events of this device.")
@click.option("--driver", metavar="NAME", help="Only the events of this driver.")
@options.output_options("text", "json")
def command(file: str, device: str | None, driver: str | None, style: str, verbose: bool) -> int:
    """Print the events of the recording FILE in order, numbered, nested by call.

    FILE is virtio-trace.vtr where none is named; - is standard input. json is a line an event, as
    in the recording, with its depth.
    """
    recording = options.load(file, verbose)
    events = recording.events
    if device is not None:
        events = _of_device(events, device)
    if driver is not None:
        events = _of_driver(recording, events, driver)
    with options.result_output() as out:
        if style == "json":
            _json(recording, events, out)
        else:
            _text(events, out)
    return 0


def _of_device(events: list[Event], address: str) -> list[Event]:
    found = [e for e in events if e.device is not None and e.device.address == address]
    if not found:
        there = sorted({e.device.address for e in events if e.device is not None})
        raise UsageError(f"no event of a device {address}", _choices("devices", there))
    return found


def _of_driver(recording: Recording, events: list[Event], name: str) -> list[Event]:
    """Its own events, and the load of its module."""
    facts = recording.header.evidence.driver(name)
    module = facts.module if facts else None
    found = [e for e in events if e.driver == name or (e.kind == MODULE and e.module == module)]
    if not any(e.driver == name for e in found):
        there = sorted({e.driver for e in events if e.driver is not None})
        raise UsageError(f"no event of a driver {name}", _choices("drivers", there))
    return found


def _choices(what: str, names: list[str]) -> str:
    return f"the {what} there are: {', '.join(names)}" if names else f"there are no {what} in it"


def _json(recording: Recording, events: Iterable[Event], out: TextIO) -> None:
    """The depth is that in the whole recording, whichever of its events are printed."""
    shown = {event.seq for event in events}
    for event, call in nest(recording.events):
        if event.seq in shown:
            json.line({**event.to_json(), "depth": call.depth if call else 0}, out)


def _text(events: list[Event], out: TextIO) -> None:
    lines = Lines(options.width_of(out), numbered=True, paint=options.paint_for(out))
    for event in events:
        out.writelines(f"{line}\n" for line in lines.add(event))
    out.writelines(f"{line}\n" for line in lines.flush())
