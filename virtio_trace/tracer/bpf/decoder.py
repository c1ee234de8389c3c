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
"""Counts of lost events stop here, as a guest may say any number: a recording's are below 2^63."""

_MOST_KNOWN = 1 << 16
"""Devices, drivers and open calls that are kept; the oldest go first."""
_MOST_NESTED = 1 << 10
"""Open calls of one function in one thread. A kernel's stack has no room for more."""


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


@dataclass(frozen=True, slots=True)
class _Call:
    """An open call; ``stack`` and ``lost_here`` are those of its struct vt_event."""

    event: Event
    stack: int
    lost_here: int


_UNKNOWN = _Driver(None, None)
"""A driver whose description was lost on the way."""


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
        self.hit: set[int] = set()

    @property
    def lost_in_ring(self) -> int:
        """Events that had no room in the ring, as far as the records tell."""
        return self._lost

    def skip(self, records: int) -> None:
        """RECORDS were lost on the way here: they leave a gap, and a call that was open is not
        known any more."""
        self._count = min(self._count + records, MOST_LOST)
        self._open.clear()

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
        return self._event(wire.WireEvent.from_buffer_copy(data), data)

    def _event(self, raw: wire.WireEvent, data: bytes) -> Event:
        if max(raw.ns, raw.entered_ns) >= NUMBER_END or raw.lost > MOST_LOST:
            raise ValueError("a number that cannot be")
        self._count += 1
        # Two CPUs may read the counter in another order than that of their places in the ring.
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
            event.module = _name(data)
            return event
        armed = self._armed[raw.probe]
        self.hit.add(raw.probe)
        point = armed.point
        event.probe = point.name
        event.function = armed.function
        event.module = armed.module
        event.device = self._devices.get(raw.device)
        driver = self._drivers.get(raw.driver, _UNKNOWN)
        event.driver = driver.name
        event.detail = driver.tables if point.detail == shape.TABLE else _detail(raw, data)
        if not (point.entry and point.returns):
            event.kind = events.HIT
        if raw.kind == wire.KIND_RETURN:
            self._return(event, raw, point)
        elif point.returns:
            if point.subject == shape.MODULE_STRUCT:
                event.detail = Detail(name=_name(data))
            self._entry(event, raw)
        return event

    def _entry(self, event: Event, raw: wire.WireEvent) -> None:
        calls = self._open.get((raw.tid, raw.probe))
        if calls is None:
            calls = []
            _keep(self._open, (raw.tid, raw.probe), calls)
        # Stacks grow down: a call entered here or below has returned, and that was not seen.
        while calls and calls[-1].stack <= raw.stack:
            calls.pop()
        calls.append(_Call(event, raw.stack, raw.lost_here))
        del calls[:-_MOST_NESTED]

    def _return(self, event: Event, raw: wire.WireEvent, point: ProbePoint) -> None:
        if point.result:
            event.result = ct.c_int32(raw.result).value
        if raw.entered_ns:
            event.duration_ns = raw.ns - raw.entered_ns
        entry = self._entry_of(raw)
        if entry is None:
            return
        event.duration_ns = raw.ns - entry.ns
        event.device = event.device or entry.device
        event.driver = event.driver or entry.driver
        event.detail = _both(event.detail, entry.detail)

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
                return call.event if call.lost_here == raw.lost_here else None
        return None


_RETURN_ADDRESS = 8
"""Bytes."""

_KINDS = {
    wire.KIND_ENTRY: events.ENTRY,
    wire.KIND_RETURN: events.RETURN,
    wire.KIND_MODULE: events.MODULE,
}


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
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


def _detail(raw: wire.WireEvent, data: bytes) -> Detail | None:
    has = raw.has
    if not has:
        return None
    return Detail(
        status=raw.status if has & wire.HAS_STATUS else None,
        features=_bits(raw.features) if has & wire.HAS_FEATURES else None,
        count=raw.count if has & wire.HAS_COUNT else None,
        queue=raw.queue_index if has & wire.HAS_QUEUE else None,
        name=_name(data) if has & wire.HAS_QUEUE else None,
        size=raw.queue_size if has & wire.HAS_SIZE else None,
        vector=raw.vector if has & wire.HAS_VECTOR else None,
    )


def _both(detail: Detail | None, entry: Detail | None) -> Detail | None:
    """A return's detail, or its entry's; a new virtqueue's size gets the index and the name."""
    if detail is None or entry is None:
        return detail or entry
    return replace(detail, queue=entry.queue, name=entry.name)


def _name(data: bytes) -> str:
    return _text(wire.WireNamed.from_buffer_copy(data).name)


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
