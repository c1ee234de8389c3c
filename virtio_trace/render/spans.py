# SPDX-License-Identifier: GPL-2.0-or-later
"""The spans of a recording as records that can be sorted by track, and what a timeline says of its
devices and threads."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.graph.timeline import span
from virtio_trace.recording.events import Event
from virtio_trace.recording.source import Source
from virtio_trace.render.sorter import Sorter
from virtio_trace.render.spool import Spool
from virtio_trace.report.state import State
from virtio_trace.report.summary import Host, Reporter, follow
from virtio_trace.virtio import numbers

MATCH = "virtio_dev_match"
_THREADS = 1 << 40
"""Added to the number of a thread: its spans come after those of all devices."""


class Shape(NamedTuple):
    """What the spans of many calls have in common: the events of one of them, whether it is a hit,
    and whether it is open."""

    event: Event
    entry: Event | None
    ret: Event | None
    is_hit: bool
    is_open: bool


def collect(recording: Source) -> Collected:
    """The spans of RECORDING. Raises BadInputError."""
    return follow(recording, Collected)


class Collected(Reporter):
    """``spans`` yields records: track group, start, negative end, sequence number of the first
    event, that of the last (0: the same), duration (None if unknown), shape, comm, device address,
    thread, CPU, device type. Times are nanoseconds since boot. ``shapes`` and ``names`` are what
    the numbers in a record stand for.
    """

    places = True

    def __init__(self, complete: bool) -> None:
        super().__init__(complete)
        self.spans = Sorter()
        self.shapes: list[Shape] = []
        self.names: list[str | None] = []
        self._shapes: dict[tuple[Any, ...], int] = {}
        self._names: dict[str | None, int] = {}
        self._threads: dict[int, tuple[int, str]] = {}
        self._devices = Spool()
        self._gaps = array("q")

    @property
    def recording(self) -> Source:
        """The recording, which has been read."""
        return self.graph.recording

    @property
    def began_ns(self) -> int:
        """When it began, or 0."""
        return self.recording.header.started_ns or 0

    @property
    def ended_ns(self) -> int:
        """The time of the last event."""
        return self.graph.ended_ns

    def devices(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number of each device's group, and what the timeline says of it."""
        for text in self._devices:
            device = json.loads(text)
            yield device["order"], device

    def threads(self) -> Iterator[tuple[int, str]]:
        """The number of each thread's group, and its name."""
        for number, name in self._threads.values():
            yield _THREADS + number, name

    def gaps(self) -> Iterator[tuple[int, int]]:
        """How many events are missing, and the time of the last event before or after that."""
        numbers = iter(self._gaps)
        return zip(numbers, numbers, strict=True)

    def lost(self, number: int, ns: int) -> None:
        """NUMBER events are missing, after an event at NS."""
        self._gaps.extend((number, ns))

    def entered(self, call: Call) -> None:
        """Name the thread."""
        event = call.event
        if event.tid not in self._threads:
            self._threads[event.tid] = len(self._threads), f"{event.comm}/{event.tid}"

    def returned(self, call: Call, is_open: bool = False) -> None:
        """Add the spans of CALL."""
        entry, ret, event = call.entry, call.ret, call.event
        if not (self.scope.is_all or self.scope.shows(event)):
            return
        if ret is entry or ret is None or ret.duration_ns is None:
            found = span(call, self.graph.ended_ns)
            start, end = found.start_ns, found.end_ns
        else:  # the same, for most calls
            end = ret.ns
            start = max(end - ret.duration_ns, 0)
        ref, comm, names = event.device, event.comm, self._names
        address = ref.address if ref is not None else None
        common = (
            event.seq,
            0 if ret is None or ret is event else ret.seq,
            ret.duration_ns if ret is not None else None,
            self._shape(call, is_open),
            names[comm] if comm in names else self._name(comm),
            names[address] if address in names else self._name(address),
            event.tid,
            event.cpu,
            ref.id if ref is not None else None,
        )
        self.spans.add((_THREADS + self._threads[event.tid][0], start, -end, *common))
        if call.device is not None:
            # on a device's track a match is an instant
            end = start if event.probe == MATCH else end
            self.spans.add((call.device, start, -end, *common))

    def take(self, device: Device, state: State, host: Host) -> None:
        """Note what the timeline says of DEVICE, if it is asked for."""
        if not self.scope.has(device.address):
            return
        snapshot = device.snapshot
        tried = state.driver or (device.bindings[-1].driver if device.bindings else None)
        parts = [device.address, numbers.device_type(device.id), device.name, tried]
        if device.generation:
            parts.append(f"generation {device.generation}")
        known = {
            "order": device.order,
            "track": " ".join(part for part in parts if part),
            "id": device.id,
            "snapshot": snapshot is not None,
            "before": snapshot.driver if snapshot is not None else None,
            "state": state.state,
            "driver": state.driver,
            "reason": state.reason,
        }
        self._devices.add(device.order, json.dumps(known))

    def end(self) -> None:
        """Add the calls without a return, and the other devices."""
        for call in self.graph.open_calls:
            self.returned(call, is_open=True)
        super().end()

    def _name(self, name: str | None) -> int:
        found = self._names[name] = len(self.names)
        self.names.append(name)
        return found

    def _shape(self, call: Call, is_open: bool) -> int:
        event, entry, ret = call.event, call.entry, call.ret
        key = (
            event.kind, event.probe, event.function, event.module, event.driver, call.result,
            id(entry.detail) if entry is not None else None,
            id(ret.detail) if ret is not None else None,
            ret is entry, is_open,
        )  # fmt: skip
        found = self._shapes.get(key)
        if found is None:
            found = self._shapes[key] = len(self.shapes)
            self.shapes.append(Shape(event, entry, ret, ret is entry, is_open))
        return found
