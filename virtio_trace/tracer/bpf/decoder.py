# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes the ring buffer's records: numbers events, resolves addresses, pairs returns.

Bytes in, Events out; pure. The kernel's ring has events in the order of their reservation, and
``seq`` counts in that order; a lost event leaves a gap. The description of a device or a driver
comes before the first event about it, and is not an event.
"""

from __future__ import annotations

import ctypes as ct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from virtio_trace.recording import events
from virtio_trace.recording.events import Detail, DeviceRef, Event
from virtio_trace.recording.json_types import NUMBER_END
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import ResolvedProbe

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

MOST_LOST = 1 << 60
"""No count of lost events is above this, as a guest may send any."""
_MOST_KNOWN = 1 << 16
"""Devices, drivers, threads and open calls that are kept: a guest may send any number."""
_MOST_NESTED = 1 << 10


@dataclass(frozen=True, slots=True)
class Armed:
    """What a probe number of the program means: the point, and the function armed for it."""

    point: ProbePoint
    function: str
    module: str | None

    @classmethod
    def of(cls, probe: ResolvedProbe) -> Armed:
        """For PROBE; one without a target never has a record."""
        target = probe.target
        if target is None:
            return cls(probe.point, probe.point.symbols[0], probe.point.module)
        return cls(probe.point, target.symbol, target.module)


@dataclass(frozen=True, slots=True)
class _Driver:
    """A described driver: its name, and the features in its tables."""

    name: str | None
    tables: Detail | None


_UNKNOWN = _Driver(None, None)


@dataclass(frozen=True, slots=True)
class _Call:
    """An open call; ``stack`` and ``lost_here`` are those of its struct vt_event."""

    event: Event
    stack: int
    lost_here: int


class RingDecoder:
    """Decodes the records of one ring buffer. It keeps the open calls, and which device or driver
    is at a kernel address; the addresses themselves are in no Event.

    ``hit`` has the numbers of the probe points that had a hit."""

    def __init__(self, armed: Sequence[Armed]) -> None:
        self._armed = armed
        self._count = 0
        self._lost = 0
        self._open: dict[tuple[int, int], list[_Call]] = {}
        self._devices: dict[int, DeviceRef | None] = {}
        self._drivers: dict[int, _Driver] = {}
        self._comms: dict[int, str] = {}
        self.hit: set[int] = set()

    def decode(self, data: bytes) -> Event | None:
        """One record as an Event; None if it describes a device or a driver.

        Raises ValueError, LookupError: no program of ours sends that.
        """
        kind = int.from_bytes(data[:4], sys.byteorder)
        if kind == wire.KIND_KNOWN_DEVICE:
            device = wire.WireDevice.from_buffer_copy(data)
            _keep(self._devices, device.key, _device(device))
            return None
        if kind == wire.KIND_KNOWN_DRIVER:
            driver = wire.WireDriver.from_buffer_copy(data)
            tables = _tables(driver) if driver.has & wire.HAS_TABLE else None
            _keep(self._drivers, driver.key, _Driver(_text(driver.name) or None, tables))
            return None
        if kind == wire.KIND_MODULE:
            return self._module(wire.WireModule.from_buffer_copy(data))
        if kind == wire.KIND_ENTRY:
            return self._entry(wire.WireEntered.from_buffer_copy(data), None)
        if kind == wire.KIND_ENTRY_NAMED:
            named = wire.WireNamed.from_buffer_copy(data)
            return self._entry(named.entered, _text(named.name))
        if kind == wire.KIND_RETURN:
            return self._return(wire.WireReturned.from_buffer_copy(data), None)
        if kind == wire.KIND_RETURN_KEPT:
            kept = wire.WireReturnedKept.from_buffer_copy(data)
            return self._return(kept.returned, kept)
        raise ValueError(f"the ring has a record of kind {kind}")

    @property
    def lost_in_ring(self) -> int:
        """Events that had no room in the ring, as far as the records tell."""
        return self._lost

    def skip(self, count: int) -> None:
        """COUNT events were sent and did not arrive: a frame was damaged on its way.

        Descriptions, entries and comms may have been among them, or have ended there: what is
        known no longer holds. Later events may then have no device, no driver and no comm."""
        self._count = min(self._count + count, MOST_LOST)
        for known in (self._open, self._devices, self._drivers, self._comms):
            known.clear()

    def _event(self, raw: wire.WireEvent, kind: str) -> Event:
        """What all events have."""
        lost = raw.lost if raw.has & wire.HAS_LOST else 0
        if raw.ns >= NUMBER_END or lost > MOST_LOST:
            raise ValueError("a number that cannot be")
        self._count += 1
        # Two CPUs may read the counter in another order than that of their places in the ring.
        self._lost = max(self._lost, lost)
        if raw.has & wire.HAS_COMM:
            _keep(self._comms, raw.tid, _text(raw.comm))
        return Event(
            seq=self._count + self._lost,
            ns=raw.ns,
            cpu=raw.cpu,
            tid=raw.tid,
            comm=self._comms.get(raw.tid, ""),
            kind=kind,
        )

    def _probed(self, raw: wire.WireEvent, kind: str) -> Event:
        """What the events of a probe point have."""
        armed = self._armed[raw.probe]
        self.hit.add(raw.probe)
        point = armed.point
        event = self._event(raw, kind if point.entry and point.returns else events.HIT)
        event.probe, event.function, event.module = point.name, armed.function, armed.module
        return event

    def _module(self, raw: wire.WireModule) -> Event:
        event = self._event(raw.event, events.MODULE)
        event.module = _text(raw.name)
        return event

    def _entry(self, raw: wire.WireEntered, name: str | None) -> Event:
        event = self._probed(raw.event, events.ENTRY)
        point = self._armed[raw.event.probe].point
        driver = self._drivers.get(raw.driver, _UNKNOWN)
        event.device, event.driver = self._devices.get(raw.device), driver.name
        if point.detail == shape.TABLE:
            event.detail = driver.tables
        elif point.subject == shape.MODULE_STRUCT:
            event.detail = Detail(name=name)
        else:
            event.detail = _entry_detail(raw, name)
        if point.returns:
            key = event.tid, raw.event.probe
            calls = self._open.get(key, [])
            _keep(self._open, key, calls)
            stack = raw.event.stack
            # Stacks grow down: a call entered here or below has returned, and that was not seen.
            while calls and calls[-1].stack <= stack:
                calls.pop()
            calls.append(_Call(event, stack, _lost_here(raw.event)))
            del calls[:-_MOST_NESTED]
        return event

    def _return(self, raw: wire.WireReturned, kept: wire.WireReturnedKept | None) -> Event:
        event = self._probed(raw.event, events.RETURN)
        if self._armed[raw.event.probe].point.result:
            event.result = ct.c_int32(raw.result).value
        if raw.event.has & wire.HAS_SIZE:
            event.detail = Detail(size=raw.queue_size)
        if kept is not None:
            event.device = self._devices.get(kept.device)
            event.driver = self._drivers.get(kept.driver, _UNKNOWN).name
            if raw.event.has & wire.HAS_FEATURES:
                event.detail = Detail(features=_bits(kept.features))
            if 0 < kept.entered_ns <= event.ns:
                event.duration_ns = event.ns - kept.entered_ns
        entry = self._entry_of(raw.event)
        if entry is None:
            return event
        if entry.ns <= event.ns:  # a guest may send any times
            event.duration_ns = event.ns - entry.ns
        event.device = event.device or entry.device
        event.driver = event.driver or entry.driver
        event.detail = _both(event.detail, entry.detail)
        return event

    def _entry_of(self, raw: wire.WireEvent) -> Event | None:
        """The entry of the call that returned; None if that is not certain.

        A function returns with the stack pointer of its entry; on x86-64 the return address has
        been popped. If an event of this probe point was lost in between, the entry may be that of
        another call.
        """
        calls = self._open.get((raw.tid, raw.probe), [])
        while calls and calls[-1].stack <= raw.stack:
            call = calls.pop()
            if not calls:
                del self._open[raw.tid, raw.probe]
            if raw.stack - call.stack <= _RETURN_ADDRESS:
                return call.event if call.lost_here == _lost_here(raw) else None
        return None


_RETURN_ADDRESS = 8
"""Bytes."""


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep VALUE as the newest; the oldest goes where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > _MOST_KNOWN:
        del kept[next(iter(kept))]


def _device(raw: wire.WireDevice) -> DeviceRef | None:
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


def _lost_here(raw: wire.WireEvent) -> int:
    return raw.lost_here if raw.has & wire.HAS_LOST else 0


_ENTRY_DETAIL = wire.HAS_STATUS | wire.HAS_FEATURES | wire.HAS_COUNT | wire.HAS_QUEUE


def _entry_detail(raw: wire.WireEntered, name: str | None) -> Detail | None:
    has = raw.event.has
    if not has & _ENTRY_DETAIL:
        return None
    return Detail(
        status=raw.status if has & wire.HAS_STATUS else None,
        features=_bits(raw.features) if has & wire.HAS_FEATURES else None,
        count=raw.count if has & wire.HAS_COUNT else None,
        queue=raw.queue_index if has & wire.HAS_QUEUE else None,
        name=name if has & wire.HAS_QUEUE else None,
        vector=raw.vector if has & wire.HAS_VECTOR else None,
    )


def _both(detail: Detail | None, entry: Detail | None) -> Detail | None:
    """A return's detail, or its entry's; a new virtqueue's size gets the index and the name."""
    if detail is None or entry is None:
        return detail or entry
    return replace(detail, queue=entry.queue, name=entry.name)


def _tables(raw: wire.WireDriver) -> Detail:
    """The driver's tables as bits. Without one for legacy devices, the other is used for them, too
    (drivers/virtio/virtio.c, virtio_dev_probe)."""
    features = _mask(raw.bits, raw.length)
    legacy = _mask(raw.legacy_bits, raw.legacy_length) if raw.has_legacy else features
    return Detail(features=features, legacy=legacy)


def _mask(bits: ct.Array[ct.c_uint32], length: int) -> str | None:
    if length >= wire.TABLE_LENGTH:
        return None  # longer than what was copied
    return f"{sum(1 << bit for bit in set(bits[:length]) if bit < _FEATURES):#x}"


_FEATURES = 128
"""Bits in a feature set (64 before Linux 6.17)."""


def _bits(words: ct.Array[ct.c_uint64]) -> str:
    return f"{words[0] | words[1] << 64:#x}"


def _text(raw: bytes) -> str:
    # The kernel's names are any bytes: keep them readable and distinct.
    return raw.decode("utf-8", "backslashreplace")
