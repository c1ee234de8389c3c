# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes from the ring buffer to Events: numbers them, and gives a return what its entry said.

Pure: it is given bytes and returns Events. The kernel's ring keeps the order of reservation,
which is the order that ``seq`` counts; what found no room leaves a gap in it.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Sequence
from dataclasses import dataclass

from virtio_trace import events
from virtio_trace.events import DeviceRef, Event
from virtio_trace.tracer import wire
from virtio_trace.tracer.probes import ProbePoint


@dataclass(frozen=True, slots=True)
class Armed:
    """What probe number N of the program stands for: the point, and the function armed for it."""

    point: ProbePoint
    function: str
    module: str | None


class Collector:
    """Decodes what one tracing session's ring buffer gives; keeps the calls that are open."""

    def __init__(self, armed: Sequence[Armed]) -> None:
        self._armed = armed
        self._count = 0
        self._lost = 0
        self._open: dict[tuple[int, int], list[Event]] = {}

    def event(self, data: bytes) -> Event:
        """One record of the ring buffer (a struct vt_event) as an Event."""
        raw = wire.WireEvent.from_buffer_copy(data)
        self._count += 1
        # Two CPUs may read the counter in the other order than they got their place in the ring.
        self._lost = max(self._lost, raw.lost)
        event = Event(
            seq=self._count + self._lost,
            ns=raw.ns,
            cpu=raw.cpu,
            tid=raw.tid,
            comm=_text(raw.comm),
            kind=_KINDS[raw.kind],
        )
        if raw.kind == wire.KIND_MODULE:
            event.module = _text(raw.name)
            return event
        armed = self._armed[raw.probe]
        event.probe = armed.point.name
        event.function = armed.function
        event.module = armed.module
        event.device = _device(raw)
        if armed.point.subject != wire.BUS_TYPE:
            event.driver = _text(raw.name) or None
        calls = self._open.setdefault((raw.tid, raw.probe), [])
        if raw.kind == wire.KIND_ENTRY:
            calls.append(event)
        else:
            self._return(event, raw, armed.point, calls)
            if not calls:
                del self._open[raw.tid, raw.probe]
        return event

    def _return(
        self, event: Event, raw: wire.WireEvent, point: ProbePoint, calls: list[Event]
    ) -> None:
        if point.result:
            event.result = ct.c_int32(raw.result).value
        # Without a duration the program saw no entry, so an entry here is an older call's; as is
        # one from before the call began, whose own entry found no room in the ring.
        if not raw.has & wire.HAS_DURATION:
            return
        event.duration_ns = raw.duration_ns
        if calls and raw.ns - raw.duration_ns <= calls[-1].ns:
            entry = calls.pop()
            event.device = event.device or entry.device
            event.driver = event.driver or entry.driver


_KINDS = {
    wire.KIND_ENTRY: events.ENTRY,
    wire.KIND_RETURN: events.RETURN,
    wire.KIND_MODULE: events.MODULE,
}


def _device(raw: wire.WireEvent) -> DeviceRef | None:
    if not raw.address:
        return None
    has = raw.has
    return DeviceRef(
        address=_text(raw.address),
        bus=_text(raw.bus),
        index=raw.index if has & wire.HAS_INDEX else None,
        id=raw.device if has & wire.HAS_ID else None,
        vendor=raw.vendor if has & wire.HAS_ID else None,
        pci_vendor=raw.pci_vendor if has & wire.HAS_PCI else None,
        pci_device=raw.pci_device if has & wire.HAS_PCI else None,
    )


def _text(raw: bytes) -> str:
    # The kernel's names are bytes; whatever they are must come out again as they went in.
    return raw.decode("utf-8", "backslashreplace")
