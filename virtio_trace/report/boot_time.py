# SPDX-License-Identifier: GPL-2.0-or-later
"""The share of the boot time that was spent on the VirtIO path, up to the last device's binding.

Boot is 0 of CLOCK_MONOTONIC (kernel/time/timekeeping.c: timekeeping_init); firmware, boot loader
and decompression of the kernel come before it. The VirtIO path is the transport's probe, the
registration of devices, the bus's probe with the driver's probe inside it, and the registration of
drivers and of the bus. Time in nested or concurrent calls is counted once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from virtio_trace.check.coverage import is_complete
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device, Graph
from virtio_trace.graph.timeline import Span, span
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.virtio.numbers import EPROBE_DEFER
from virtio_trace.virtio.transports import PROBES

PHASES = ("transport_probe", "register", "negotiation", "driver_probe", "find_vqs")
"""Each phase runs inside the previous one, whose own time does not include it."""

_PHASE_OF = {
    **dict.fromkeys(PROBES, 0),
    "register_virtio_device": 1,
    "virtio_dev_probe": 2,
    "driver_probe": 3,
    "find_vqs": 4,
}
_DRIVERS = ("bus_register", "register_virtio_driver")
_COUNTED = {*_PHASE_OF, *_DRIVERS}

Interval = tuple[int, int]
_Place = tuple[int, int]
"""A device's order, and the place of a binding among those of the device."""


@dataclass(slots=True)
class _Address:
    """The calls that may have brought the device at an address up; see :meth:`came_up`."""

    order: int
    bound_before: bool = False
    transport: Call | None = None
    good: tuple[_Place, Call] | None = None
    tried: tuple[_Place, Call] | None = None
    last: tuple[_Place, Call] | None = None

    def take(self, device: Device) -> None:
        """Take one of the devices at the address; in any order."""
        if device.order <= self.order:
            self.order = device.order
            self.transport = device.transport or device.register
            self.bound_before = device.snapshot is not None and bool(device.snapshot.driver)
        for number, binding in enumerate(device.bindings):
            place, call = (device.order, number), binding.call
            if call.result == 0 and (self.good is None or place < self.good[0]):
                self.good = place, call
            if call.result != -EPROBE_DEFER and (self.tried is None or place < self.tried[0]):
                self.tried = place, call
            if self.last is None or place > self.last[0]:
                self.last = place, call

    def came_up(self) -> Call | None:
        """The call that brought the device up: the first binding that succeeded, otherwise the
        first that was not deferred, otherwise the last one, otherwise the transport's probe or the
        registration. Later bindings are not part of boot."""
        if self.bound_before:
            return None
        found = self.good or self.tried or self.last
        return found[1] if found is not None else self.transport


class BootTime:
    """Takes the calls and devices of a recording, in any order."""

    def __init__(self) -> None:
        self._at: dict[str, _Address] = {}
        self._of_device: dict[int, array[int]] = {}
        self._names: dict[int, tuple[str, int, str | None]] = {}
        self._drivers: list[Interval] = []

    def call(self, call: Call, ended_ns: int = 0) -> None:
        """Take CALL. Without a return, it may have run until ENDED_NS."""
        probe = call.event.probe
        if probe not in _COUNTED:
            return
        found = span(call, ended_ns)
        if probe in _DRIVERS:
            self._drivers.append((found.start_ns, found.end_ns))
        elif call.device is not None:
            own = self._of_device.get(call.device)
            if own is None:
                own = self._of_device[call.device] = array("q")
            own.extend((_PHASE_OF[str(probe)], found.start_ns, found.end_ns))

    def device(self, device: Device) -> None:
        """Take DEVICE, which is complete."""
        address = device.address
        at = self._at.get(address)
        if at is None:
            at = self._at[address] = _Address(device.order)
        at.take(device)
        self._names[device.order] = address, device.generation, device.name

    def result(self, graph: Graph) -> dict[str, Any] | None:
        """The report's ``boot``; docs/formats.md lists its members. None if no device came up in
        the recording."""
        for call in graph.open_calls:
            self.call(call, graph.ended_ns)
        end = graph.ended_ns
        ups = (one.came_up() for one in sorted(self._at.values(), key=lambda one: one.order))
        last = max(
            (span(call, end) for call in ups if call is not None),
            key=lambda span: span.end_ns,
            default=None,
        )
        if last is None or not last.end_ns:
            return None
        until = last.end_ns
        orders = sorted(self._names.keys() & self._of_device)
        of_device = {order: self._intervals(order, until) for order in orders}
        drivers = [(start, min(stop, until)) for start, stop in self._drivers if start < until]
        every = [interval for found in of_device.values() for _, interval in found]
        devices = _union(every)
        total = _union([*every, *drivers])
        return {
            "recorded_from_ns": _recorded_from(graph),
            "until_ns": until,
            "until": _until(last),
            "virtio_ns": total,
            "percent": _percent(total, until),
            "drivers_ns": total - devices,
            "devices": [
                _device(self._names[order], found, until)
                for order, found in of_device.items()
                if found
            ],
            "notes": _notes(graph, until),
        }

    def _intervals(self, order: int, until: int) -> list[tuple[int, Interval]]:
        """Each phase of a device before UNTIL."""
        numbers = iter(self._of_device[order])
        return [
            (phase, (start, min(stop, until)))
            for phase, start, stop in zip(numbers, numbers, numbers, strict=True)
            if start < until
        ]


def _device(
    names: tuple[str, int, str | None], found: list[tuple[int, Interval]], until: int
) -> dict[str, Any]:
    address, generation, name = names
    own = _own(found)
    total = sum(own)
    return {
        "device": address,
        "generation": generation,
        "name": name,
        "virtio_ns": total,
        "percent": _percent(total, until),
        "phases": [
            {"name": name, "own_ns": ns} for name, ns in zip(PHASES, own, strict=True) if ns
        ],
    }


def _own(found: list[tuple[int, Interval]]) -> list[int]:
    """For each of PHASES, the nanoseconds in which no inner phase ran: what the phase adds to the
    union, starting with the innermost."""
    own = [0] * len(PHASES)
    covered: list[Interval] = []
    before = 0
    for phase in reversed(range(len(PHASES))):
        covered += [interval for number, interval in found if number == phase]
        now = _union(covered)
        own[phase], before = now - before, now
    return own


def _union(intervals: Iterable[Interval]) -> int:
    """The nanoseconds that at least one of INTERVALS covers."""
    total, covered = 0, 0
    for start, end in sorted(intervals):
        if end > covered:
            total += end - max(start, covered)
            covered = end
    return total


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3)


def _until(last: Span) -> dict[str, Any]:
    event = last.call.event
    ret = last.call.ret or event
    return {
        "device": event.device.address if event.device else None,
        "driver": event.driver,
        "function": event.function,
        "event": ret.seq,
    }


def _recorded_from(graph: Graph) -> int | None:
    """When the recording began. The first event may be earlier than ``started_ns``."""
    started = graph.recording.header.started_ns
    first = graph.recording.first_ns
    return None if started is None or first is None else min(started, first)


def _notes(graph: Graph, until: int) -> list[str]:
    """Sentences on what the figures do not include."""
    notes = []
    if any(state.state == ARMED for state in graph.recording.header.boot_probes):
        notes.append(
            "what ran before the kernel arms events is not counted: the bus's registration"
        )
    elif graph.bus_register is None and graph.recording.header.snapshot.bus:
        notes.append("what the virtio path took before the recording began is unknown")
    else:
        notes.append("there was no VirtIO bus before the recording began")
    if not is_complete(graph.recording):
        notes.append("the recording is not complete: what was lost is not counted")
    opened = (call for call in graph.open_calls if call.event.probe in _COUNTED)
    cut = sum(call.event.ns < until for call in opened)
    if cut:
        notes.append(f"calls without a return, counted as long as they can have run: {cut}")
    return notes
