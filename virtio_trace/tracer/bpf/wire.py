# SPDX-License-Identifier: GPL-2.0-or-later
"""The ctypes mirror of bpf/events.h, and the table of maps in bpf/maps.h.

tests/unit/tracer/bpf/test_wire.py compares both with what a compiler makes of those files.
"""

from __future__ import annotations

import ctypes as ct
from dataclasses import dataclass

from virtio_trace.errors import CannotTraceError

MAX_POINTS = 256
"""VT_MAX_POINTS: the number of a probe point is below it."""

# enum vt_kind: the first member of every record
KIND_ENTRY = 1
KIND_RETURN = 2
KIND_MODULE = 3
KIND_KNOWN_DEVICE = 4
KIND_KNOWN_DRIVER = 5
KIND_ENTRY_NAMED = 6
KIND_RETURN_KEPT = 7

# enum vt_has: which fields of a record are known
HAS_ID = 1
HAS_INDEX = 2
HAS_PCI = 4
HAS_STATUS = 8
HAS_FEATURES = 16
HAS_TABLE = 32
HAS_COUNT = 64
HAS_QUEUE = 128
HAS_SIZE = 256
HAS_VECTOR = 512
HAS_COMM = 1024
HAS_LOST = 2048


class WireEvent(ct.Structure):
    """struct vt_event: what all events begin with."""

    _fields_ = (
        ("kind", ct.c_uint32),
        ("probe", ct.c_uint32),
        ("cpu", ct.c_uint32),
        ("tid", ct.c_uint32),
        ("ns", ct.c_uint64),
        ("stack", ct.c_uint64),
        ("lost", ct.c_uint64),
        ("lost_here", ct.c_uint64),
        ("comm", ct.c_char * 16),
        ("has", ct.c_uint32),
        ("unused", ct.c_uint32),
    )


class WireEntered(ct.Structure):
    """struct vt_entered."""

    _fields_ = (
        ("event", WireEvent),
        ("device", ct.c_uint64),
        ("driver", ct.c_uint64),
        ("features", ct.c_uint64 * 2),
        ("status", ct.c_uint32),
        ("count", ct.c_uint32),
        ("queue_index", ct.c_uint32),
        ("vector", ct.c_uint32),
    )


class WireNamed(ct.Structure):
    """struct vt_named."""

    _fields_ = (
        ("entered", WireEntered),
        ("name", ct.c_char * 64),
    )


class WireReturned(ct.Structure):
    """struct vt_returned."""

    _fields_ = (
        ("event", WireEvent),
        ("result", ct.c_int64),
        ("queue_size", ct.c_uint32),
        ("unused", ct.c_uint32),
    )


class WireReturnedKept(ct.Structure):
    """struct vt_returned_kept."""

    _fields_ = (
        ("returned", WireReturned),
        ("entered_ns", ct.c_uint64),
        ("device", ct.c_uint64),
        ("driver", ct.c_uint64),
        ("features", ct.c_uint64 * 2),
    )


class WireModule(ct.Structure):
    """struct vt_module."""

    _fields_ = (
        ("event", WireEvent),
        ("name", ct.c_char * 64),
    )


class WireDevice(ct.Structure):
    """struct vt_device."""

    _fields_ = (
        ("kind", ct.c_uint32),
        ("has", ct.c_uint32),
        ("key", ct.c_uint64),
        ("index", ct.c_uint32),
        ("device", ct.c_uint32),
        ("vendor", ct.c_uint32),
        ("pci_vendor", ct.c_uint32),
        ("pci_device", ct.c_uint32),
        ("unused", ct.c_uint32),
        ("bus", ct.c_char * 16),
        ("address", ct.c_char * 40),
    )


TABLE_LENGTH = 64
"""VT_TABLE_LENGTH: a feature table that is not shorter is not in the record."""


class WireDriver(ct.Structure):
    """struct vt_driver."""

    _fields_ = (
        ("kind", ct.c_uint32),
        ("has", ct.c_uint32),
        ("key", ct.c_uint64),
        ("name", ct.c_char * 64),
        ("length", ct.c_uint32),
        ("legacy_length", ct.c_uint32),
        ("has_legacy", ct.c_uint32),
        ("unused", ct.c_uint32),
        ("bits", ct.c_uint32 * TABLE_LENGTH),
        ("legacy_bits", ct.c_uint32 * TABLE_LENGTH),
    )


class WireOffsets(ct.Structure):
    """struct vt_offsets: offsets in bytes."""

    _fields_ = tuple(
        (name, ct.c_uint32)
        for name in (
            "device_name",
            "device_parent",
            "device_bus",
            "device_driver",
            "bus_name",
            "driver_name",
            "pci_dev_dev",
            "pci_dev_vendor",
            "pci_dev_device",
            "platform_device_dev",
            "virtio_device_index",
            "virtio_device_dev",
            "virtio_device_id",
            "virtio_device_vendor",
            "module_load_name",
            "virtio_device_features",
            "virtio_device_words",
            "virtio_device_config",
            "config_extended",
            "driver_table",
            "driver_table_size",
            "driver_legacy",
            "driver_legacy_size",
            "queue_free",
            "module_name",
        )
    )


def require_room(number: int) -> None:
    """Raises CannotTraceError if the program has no room for a probe point of this NUMBER."""
    if number >= MAX_POINTS:
        raise CannotTraceError(
            f"the BPF program has room for {MAX_POINTS} probe points, this is number {number + 1}",
            "raise VT_MAX_POINTS in bpf/events.h and MAX_POINTS in tracer/bpf/wire.py",
        )


STRUCTS = {
    "vt_event": WireEvent,
    "vt_entered": WireEntered,
    "vt_named": WireNamed,
    "vt_returned": WireReturned,
    "vt_returned_kept": WireReturnedKept,
    "vt_module": WireModule,
    "vt_device": WireDevice,
    "vt_driver": WireDriver,
    "vt_offsets": WireOffsets,
}
"""The mirrors by the names of their structs in bpf/events.h."""

# enum bpf_map_type (include/uapi/linux/bpf.h)
MAP_ARRAY = 2
MAP_RINGBUF = 27


@dataclass(frozen=True, slots=True)
class MapSpec:
    """How to create a map (BPF_MAP_CREATE). Sizes in bytes; ``entries`` of a ring are its bytes."""

    name: str
    type: int
    key_size: int
    value_size: int
    entries: int


MAPS = (
    MapSpec("EVENTS", MAP_RINGBUF, 0, 0, 1 << 20),
    MapSpec("COUNT", MAP_ARRAY, 4, 16, 1),
    MapSpec("LOST_HERE", MAP_ARRAY, 4, 8 * MAX_POINTS, 1),
    MapSpec("OFFSETS", MAP_ARRAY, 4, ct.sizeof(WireOffsets), 1),
    MapSpec("KNOWN", MAP_ARRAY, 4, 8 * 1024, 1),
    MapSpec("CALLS", MAP_ARRAY, 4, 40 * 4096, 1),
    MapSpec("THREADS", MAP_ARRAY, 4, 32 * 1024, 1),
)
"""The maps of bpf/maps.h; the first is number 1. COUNT begins with the events lost, a u64."""


def map_number(name: str) -> int:
    """The number of a map, from 1, by which the programs load it."""
    return 1 + [spec.name for spec in MAPS].index(name)
