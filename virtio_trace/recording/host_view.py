# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's device model's own view of the guest's devices: the trailer's ``host``.

It is independent evidence: vm/qemu/host_view.py queries it over the monitor when the guest's
recorder has written its trailer, and nothing in it comes from the guest. Names are QEMU's (qapi/
virtio.json, hw/virtio/virtio-qmp.c); they are translated to bits when a recording is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from virtio_trace.recording.json_types import (
    boolean,
    objects,
    optional,
    string,
    strings,
    u32,
)
from virtio_trace.virtio import features
from virtio_trace.virtio.numbers import Status

_STATUS_PREFIX = "VIRTIO_CONFIG_S_"
_BITS = re.compile(r"0x[0-9a-f]{1,32}")
_MMIO = re.compile(r"([0-9a-f]{1,16})\.virtio_mmio")
_OWN_NAMES = {
    "VHOST_F_LOG_ALL": 26,
    "VHOST_NET_F_VIRTIO_NET_HDR": 27,
    "VHOST_USER_F_PROTOCOL_FEATURES": 30,
    "VIRTIO_I2C_F_ZERO_LEGNTH_REQUEST": 0,
}
"""QEMU's names that are in no header of the kernel."""


@dataclass(frozen=True, slots=True)
class Bits:
    """A set of bits as QEMU shows it: ``names``, and in ``unknown`` the bits that have no name,
    in hexadecimal."""

    names: tuple[str, ...] = ()
    unknown: str = "0x0"

    @classmethod
    def from_json(cls, raw: Any) -> Bits:
        """Raises KeyError, TypeError, ValueError."""
        unknown = string(raw["unknown"])
        if _BITS.fullmatch(unknown) is None:
            raise ValueError("not bits in hexadecimal")
        return cls(strings(raw["names"]), unknown)


@dataclass(frozen=True, slots=True)
class HostQueue:
    """A virtqueue: ``size`` in descriptors (vring-num); ``ready``: it has a descriptor table.
    ``used``: the index of the used ring (VirtIO 2.7.8), which counts what the device has completed
    modulo 65536; None if unknown."""

    index: int
    size: int
    ready: bool
    used: int | None = None

    @classmethod
    def from_json(cls, raw: Any) -> HostQueue:
        """Raises KeyError, TypeError, ValueError."""
        used = optional(u32, raw.get("used"))
        return cls(u32(raw["index"]), u32(raw["size"]), boolean(raw["ready"]), used)


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A virtio device of the device model. ``path`` is its place in QEMU's object tree, ``id`` the
    virtio device type's number. ``address`` is the bus address by which the guest knows it, on
    ``bus`` (pci, or platform for MMIO); None if that cannot be determined. ``status`` and
    features are None if the device model did not report them."""

    path: str
    id: int
    bus: str | None
    address: str | None
    status: Bits | None
    guest_features: Bits | None
    host_features: Bits | None
    queues: tuple[HostQueue, ...] = ()

    @classmethod
    def from_json(cls, raw: Any) -> HostDevice:
        """Raises KeyError, TypeError, ValueError."""
        return cls(
            path=string(raw["path"]),
            id=u32(raw["id"]),
            bus=optional(string, raw["bus"]),
            address=optional(string, raw["address"]),
            status=optional(Bits.from_json, raw["status"]),
            guest_features=optional(Bits.from_json, raw["guest_features"]),
            host_features=optional(Bits.from_json, raw["host_features"]),
            queues=tuple(map(HostQueue.from_json, objects(raw["queues"]))),
        )

    @property
    def mmio_base(self) -> int | None:
        """The address in memory of a virtio-mmio device's registers; None for other buses."""
        found = _MMIO.fullmatch(self.address or "")
        return int(found[1], 16) if found else None

    @property
    def status_value(self) -> int | None:
        """The device status (VirtIO 2.1); None if one of its names is not known here."""
        if self.status is None:
            return None
        names = [name.removeprefix(_STATUS_PREFIX) for name in self.status.names]
        if any(name not in Status.__members__ for name in names):
            return None
        return sum(Status[name] for name in names) | int(self.status.unknown, 16)

    def features(self) -> tuple[int, tuple[str, ...]]:
        """The features that the guest has set, as bits, and the names that are not known here."""
        own = {name: bit for bit, name in features.DEVICES.get(self.id, {}).items()}
        common = {name: bit for bit, name in features.COMMON.items()}
        known = {**features.ALIASES, **_OWN_NAMES, **common, **own}
        if self.guest_features is None:
            return 0, ()
        bits = int(self.guest_features.unknown, 16)
        for name in self.guest_features.names:
            bits |= 1 << known[name] if name in known else 0
        return bits, tuple(name for name in self.guest_features.names if name not in known)

    @property
    def completed(self) -> dict[int, int]:
        """What the device has completed in each virtqueue, by index, modulo 65536. The used index
        of a packed ring is a place in it."""
        if {"VIRTIO_F_RING_PACKED"} & {*(self.guest_features.names if self.guest_features else ())}:
            return {}
        return {q.index: q.used for q in self.queues if q.ready and q.used is not None}

    @property
    def sizes(self) -> dict[int, int]:
        """The sizes of the virtqueues that are set up, by index."""
        return {queue.index: queue.size for queue in self.queues if queue.ready}


class HostIndex:
    """Finds each of DEVICES in constant time. Of several, the first one counts."""

    def __init__(self, devices: Sequence[HostDevice]) -> None:
        self._devices = devices
        self._by_address: dict[str | None, int] = {}
        self._by_base: dict[int | None, int] = {}
        for number, device in enumerate(devices):
            self._by_address.setdefault(device.address, number)
            self._by_base.setdefault(device.mmio_base, number)

    def at(self, address: str, base: int | None = None) -> HostDevice | None:
        """The device at the guest's bus address ADDRESS, or with its registers at BASE: with ACPI,
        the guest's name for a virtio-mmio device is not made of that. None if there is none."""
        found = self._by_address.get(address)
        if base is not None:
            by_base = self._by_base.get(base)
            if by_base is not None and (found is None or by_base < found):
                found = by_base
        return None if found is None else self._devices[found]


@dataclass(frozen=True, slots=True)
class HostView:
    """The whole view. ``model`` names the device model (QEMU 7.2.22); ``devices`` is None if it
    could not be queried, for the ``reason`` given."""

    model: str | None
    devices: tuple[HostDevice, ...] | None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The trailer's ``host``; lists where the members are tuples. An unknown ``used`` is
        absent."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        for device in plain["devices"] or ():
            for queue in device["queues"]:
                if queue["used"] is None:
                    del queue["used"]
        return plain

    @classmethod
    def from_json(cls, raw: Any) -> HostView:
        """Raises KeyError, TypeError, ValueError."""
        devices = raw["devices"]
        return cls(
            optional(string, raw["model"]),
            None if devices is None else tuple(map(HostDevice.from_json, objects(devices))),
            optional(string, raw.get("reason")),
        )
