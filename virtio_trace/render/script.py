# SPDX-License-Identifier: GPL-2.0-or-later
"""Selected events of a recording in order: lines of text, or JSON Lines. Each event is written as
it is read; none is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from virtio_trace.graph.calls import Call, nest
from virtio_trace.recording.events import MODULE, Event
from virtio_trace.recording.source import Source
from virtio_trace.render import json
from virtio_trace.render.lines import Lines
from virtio_trace.render.words import Paint, plain

_Found = tuple[Event, Call | None]


class Selection:
    """The events of RECORDING about the DEVICE at an address, and about DRIVER and the load of its
    module. None stands for all. ``devices`` and ``drivers`` are those of the events seen so far,
    ``drivers`` of the events of DEVICE."""

    def __init__(
        self, recording: Source, device: str | None = None, driver: str | None = None
    ) -> None:
        self._recording = recording
        self._device = device
        self._driver = driver
        facts = recording.header.evidence.driver(driver) if driver is not None else None
        self._module = facts.module if facts else None
        self.devices: set[str] = set()
        self.drivers: set[str] = set()

    def events(self) -> Iterator[Event]:
        """The selected events, in their order. Raises BadInputError."""
        return (event for event, _ in self._selected((event, None) for event in self._recording))

    def calls(self) -> Iterator[tuple[Event, Call | None]]:
        """The same, each with its call in the nesting of all events."""
        return self._selected(nest(self._recording))

    def _selected(self, found: Iterable[_Found]) -> Iterator[_Found]:
        """Loads of a module are held until its driver does something: else there is none."""
        held: list[_Found] = []
        for one in found:
            if self._is_selected(one[0]):
                held.append(one)
                if self._driver is None or self._driver in self.drivers:
                    yield from held
                    held.clear()

    def _is_selected(self, event: Event) -> bool:
        ref, driver = event.device, event.driver
        if self._device is not None:
            if ref is not None:
                self.devices.add(ref.address)
            if ref is None or ref.address != self._device:
                return False
        if self._driver is None:
            return True
        if driver is not None:
            self.drivers.add(driver)
        of_module = event.kind == MODULE and event.module == self._module
        return driver == self._driver or of_module


def text(
    selection: Selection,
    out: TextIO,
    width: int | None = None,
    paint: Paint = plain,
    verbose: bool = False,
) -> None:
    """Write the events for a terminal of WIDTH columns, numbered and indented by call. Status and
    features are names; with VERBOSE, hexadecimal."""
    lines = Lines(width, numbered=True, paint=paint, names=not verbose)
    for event in selection.events():
        out.writelines(f"{line}\n" for line in lines.add(event))
    out.writelines(f"{line}\n" for line in lines.flush())


def json_lines(selection: Selection, out: TextIO) -> None:
    """Write each event as in the recording, with its ``depth`` in the nesting of all events."""
    for event, call in selection.calls():
        json.line({**event.to_json(), "depth": call.depth if call else 0}, out)
