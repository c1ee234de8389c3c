# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device model on the host says of a guest's devices, as the trailer's ``host`` keeps it.

Evidence of its own: it was asked over the monitor (vm/hostview.py) when the guest's recorder had
written its trailer, and nothing in it came out of the guest. Names stay as QEMU gives them (qapi/
virtio.json, hw/virtio/virtio-qmp.c); which bits they are is found when they are read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.virtio import features

_STATUS_PREFIX = "VIRTIO_CONFIG_S_"
_STATUS = {
    "ACKNOWLEDGE": 1,
    "DRIVER": 2,
    "DRIVER_OK": 4,
    "FEATURES_OK": 8,
    "NEEDS_RESET": 64,
    "FAILED": 128,
}
_OWN_NAMES = {
    "VHOST_F_LOG_ALL": 26,
    "VHOST_NET_F_VIRTIO_NET_HDR": 27,
    "VHOST_USER_F_PROTOCOL_FEATURES": 30,
    "VIRTIO_I2C_F_ZERO_LEGNTH_REQUEST": 0,
}
"""QEMU's names that no header of the kernel has."""

_END = 1 << 128


@dataclass(frozen=True, slots=True)
class Bits:
    """A set of bits as QEMU shows it: ``names``, and in ``unknown`` the bits it has no name for,
    in hexadecimal."""

    names: tuple[str, ...] = ()
    unknown: str = "0x0"


@dataclass(frozen=True, slots=True)
class HostQueue:
    """A virtqueue: ``size`` in descriptors (vring-num); ``ready``: it has a descriptor table."""

    index: int
    size: int
    ready: bool


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A virtio device of the device model. ``path`` is its place in QEMU's object tree, ``id`` the
    virtio device type's number. ``address`` is the bus address by which the guest knows it, on
    ``bus`` (pci, or platform for MMIO); None where that cannot be told. ``status`` and features
    are None where the device model did not say."""

    path: str
    id: int
    bus: str | None
    address: str | None
    status: Bits | None
    guest_features: Bits | None
    host_features: Bits | None
    queues: tuple[HostQueue, ...] = ()

    @property
    def status_value(self) -> int | None:
        """The device status (VirtIO 2.1); None where a name is not known here."""
        if self.status is None:
            return None
        names = [name.removeprefix(_STATUS_PREFIX) for name in self.status.names]
        if any(name not in _STATUS for name in names):
            return None
        return sum(_STATUS[name] for name in names) | int(self.status.unknown, 16)

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
    def sizes(self) -> dict[int, int]:
        """Of the virtqueues that are set up, by index."""
        return {queue.index: queue.size for queue in self.queues if queue.ready}


@dataclass(frozen=True, slots=True)
class HostView:
    """The whole view. ``model`` names the device model (QEMU 7.2.22); ``devices`` is None where it
    could not be asked, for the ``reason`` given."""

    model: str | None
    devices: tuple[HostDevice, ...] | None
    reason: str | None = None

    def at(self, address: str) -> HostDevice | None:
        """The device that the guest has at ADDRESS."""
        found = (device for device in self.devices or () if device.address == address)
        return next(found, None)

    def to_json(self) -> dict[str, Any]:
        """For the trailer; lists where the members are tuples."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def host_from_json(raw: Any) -> HostView | None:
    """The trailer's ``host``. Raises BadInputError."""
    if raw is None:
        return None
    try:
        devices = raw["devices"]
        return HostView(
            _perhaps_text(raw["model"]),
            None if devices is None else tuple(_device(device) for device in _list(devices)),
            _perhaps_text(raw.get("reason")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInputError(f"damaged trailer: host: {error}") from error


def _device(raw: dict[str, Any]) -> HostDevice:
    return HostDevice(
        path=_text(raw["path"]),
        id=_count(raw["id"]),
        bus=_perhaps_text(raw["bus"]),
        address=_perhaps_text(raw["address"]),
        status=_perhaps_bits(raw["status"]),
        guest_features=_perhaps_bits(raw["guest_features"]),
        host_features=_perhaps_bits(raw["host_features"]),
        queues=tuple(_queue(queue) for queue in _list(raw["queues"])),
    )


def _queue(raw: dict[str, Any]) -> HostQueue:
    if type(raw["ready"]) is not bool:
        raise TypeError("a queue's 'ready'")
    return HostQueue(_count(raw["index"]), _count(raw["size"]), raw["ready"])


def _bits(raw: dict[str, Any]) -> Bits:
    unknown = _text(raw["unknown"])
    if not unknown.startswith("0x") or not 0 <= int(unknown, 16) < _END:
        raise ValueError(f"no bits: {unknown}")
    return Bits(tuple(_text(name) for name in _list(raw["names"])), unknown)


def _perhaps_bits(raw: Any) -> Bits | None:
    return None if raw is None else _bits(raw)


def _list(raw: Any) -> list[Any]:
    if type(raw) is not list:
        raise TypeError("not a list")
    return raw


def _text(raw: Any) -> str:
    if type(raw) is not str:
        raise TypeError("not a text")
    return raw


def _perhaps_text(raw: Any) -> str | None:
    return None if raw is None else _text(raw)


def _count(raw: Any) -> int:
    if type(raw) is not int or not 0 <= raw < 1 << 32:
        raise TypeError("not a number")
    return raw
