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
from virtio_trace.events import Detail, DeviceRef, Event
from virtio_trace.tracer import wire
from virtio_trace.tracer.probes import ProbePoint


@dataclass(frozen=True, slots=True)
class Armed:
    """What probe number N of the program stands for: the point, and the function armed for it."""

    point: ProbePoint
    function: str
    module: str | None


class Collector:
    """Decodes what one tracing session's ring buffer gives; keeps the calls that are open.

    ``hit`` has the numbers of the probe points that were."""

    def __init__(self, armed: Sequence[Armed]) -> None:
        self._armed = armed
        self._count = 0
        self._lost = 0
        self._open: dict[tuple[int, int], list[Event]] = {}
        self.hit: set[int] = set()

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
        if armed.point.subject not in (wire.BUS_TYPE, wire.MODULE_STRUCT):
            event.driver = _text(raw.name) or None
        if not (armed.point.entry and armed.point.returns):
            event.kind = events.HIT
        event.detail = _table(data) if raw.has & wire.HAS_TABLE else _detail(raw, armed.point)
        self.hit.add(raw.probe)
        if not armed.point.returns:
            return event
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
            event.detail = event.detail or entry.detail


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


def _detail(raw: wire.WireEvent, point: ProbePoint) -> Detail | None:
    has = raw.has
    if point.subject == wire.MODULE_STRUCT and raw.name:
        return Detail(name=_text(raw.name))
    detail = Detail(
        status=raw.status if has & wire.HAS_STATUS else None,
        features=_bits(raw.features) if has & wire.HAS_FEATURES else None,
        count=raw.count if has & wire.HAS_COUNT else None,
        queue=raw.queue_index if has & wire.HAS_QUEUE else None,
        name=_text(raw.queue_name) if has & wire.HAS_QUEUE else None,
        size=raw.queue_size if has & wire.HAS_SIZE else None,
        vector=raw.vector if has & wire.HAS_VECTOR else None,
    )
    return None if detail == _NOTHING else detail


_NOTHING = Detail()


def _table(data: bytes) -> Detail:
    """The driver's tables as bits; without one for legacy devices, the other one counts for them
    (drivers/virtio/virtio.c, virtio_dev_probe)."""
    raw = wire.WireTable.from_buffer_copy(data)
    features = _mask(raw.bits, raw.length)
    legacy = _mask(raw.legacy_bits, raw.legacy_length) if raw.has_legacy else features
    return Detail(features=features, legacy=legacy)


def _mask(bits: ct.Array[ct.c_uint32], length: int) -> str | None:
    if length >= wire.TABLE_LENGTH:
        return None  # longer than what was copied: unknown
    return f"{sum(1 << bit for bit in set(bits[:length]) if bit < _FEATURES):#x}"


_FEATURES = 128
"""Bits in a feature set (64 before Linux 6.17)."""


def _bits(words: ct.Array[ct.c_uint64]) -> str:
    return f"{words[0] | words[1] << 64:#x}"


def _text(raw: bytes) -> str:
    # The kernel's names are bytes; whatever they are must come out again as they went in.
    return raw.decode("utf-8", "backslashreplace")
