# SPDX-License-Identifier: GPL-2.0-or-later
"""The VirtIO bus as sysfs shows it at one moment: in the header's ``snapshot`` and at the end.

Source: Documentation/ABI/testing/sysfs-bus-virtio; drivers/virtio/virtio.c, virtio_dev_attrs.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from virtio_trace.recording.json_types import (
    boolean,
    count,
    mapping,
    obj,
    objects,
    optional,
    string,
    strings,
)

_NAMED_BASE = re.compile(r"([0-9a-f]{1,16})\.virtio_mmio")


@dataclass(frozen=True, slots=True)
class SysfsPci:
    """The PCI function of a virtio device. ``modern``: whether it has the modern interface; None
    if its configuration space could not be read."""

    vendor: int | None = None
    device: int | None = None
    subsystem_device: int | None = None
    modern: bool | None = None

    @classmethod
    def from_json(cls, raw: Any) -> SysfsPci:
        """Raises TypeError."""
        get = obj(raw).get
        return cls(
            optional(count, get("vendor")),
            optional(count, get("device")),
            optional(count, get("subsystem_device")),
            optional(boolean, get("modern")),
        )


@dataclass(frozen=True, slots=True)
class SysfsDevice:
    """A device of the VirtIO bus. ``address`` is its parent device's name, ``bus`` the parent's
    subsystem, ``index`` the N of virtioN. ``status`` is the device status. ``features`` is the
    bit string of sysfs, bit 0 first. ``base`` is the address in memory of a virtio-mmio device's
    registers. ``carries`` names its network interfaces and disks (eth0, vdb). ``interrupts`` counts
    them, by what they are for: config, a virtqueue's name, "virtqueues" for all that share one, ""
    for all of the device's (/proc/interrupts). None is unknown."""

    name: str
    address: str
    bus: str | None = None
    index: int | None = None
    id: int | None = None
    vendor: int | None = None
    modalias: str | None = None
    driver: str | None = None
    status: int | None = None
    features: str | None = None
    pci: SysfsPci | None = None
    base: int | None = None
    carries: tuple[str, ...] = ()
    interrupts: dict[str, int] | None = None

    @classmethod
    def from_json(cls, raw: Any) -> SysfsDevice:
        """Raises TypeError, KeyError. ``status``, ``features`` and ``modalias`` are as the kernel
        printed them; a value of the wrong type is unknown."""
        get = obj(raw).get
        status, features, modalias = get("status"), get("features"), get("modalias")
        return cls(
            name=string(raw["name"]),
            address=string(raw["address"]),
            bus=optional(string, get("bus")),
            index=optional(count, get("index")),
            id=optional(count, get("id")),
            vendor=optional(count, get("vendor")),
            modalias=modalias if type(modalias) is str else None,
            driver=optional(string, get("driver")),
            status=status if type(status) is int else None,
            features=features if type(features) is str else None,
            pci=optional(SysfsPci.from_json, get("pci")),
            base=optional(count, get("base")),
            carries=strings(get("carries", [])),
            interrupts=optional(partial(mapping, count), get("interrupts")),
        )

    def to_json(self) -> dict[str, Any]:
        """For the header's snapshot and the trailer's ``final``. An unknown ``base``, an empty
        ``carries`` and unknown ``interrupts`` are absent."""
        found = asdict(self)
        if self.base is None:
            del found["base"]
        if not self.carries:
            del found["carries"]
        if self.interrupts is None:
            del found["interrupts"]
        return found

    def is_called(self, name: str) -> bool:
        """Whether NAME is the device's address, its name, or an interface or disk it carries."""
        return name in (self.address, self.name, *self.carries)

    @property
    def mmio_base(self) -> int | None:
        """``base``, or the one in an address that a device tree made: a003c00.virtio_mmio."""
        found = _NAMED_BASE.fullmatch(self.address)
        return int(found[1], 16) if found else self.base


@dataclass(frozen=True, slots=True)
class SysfsDriver:
    """A driver of the VirtIO bus; ``module`` is None if it is built in."""

    name: str
    module: str | None = None

    @classmethod
    def from_json(cls, raw: Any) -> SysfsDriver:
        """Raises TypeError, KeyError."""
        return cls(string(obj(raw)["name"]), optional(string, raw.get("module")))


@dataclass(frozen=True, slots=True)
class BusState:
    """``bus``: whether the VirtIO bus is registered."""

    bus: bool
    devices: tuple[SysfsDevice, ...] = ()
    drivers: tuple[SysfsDriver, ...] = ()

    @property
    def carried(self) -> set[str]:
        """The interfaces and disks of all its devices."""
        return {name for device in self.devices for name in device.carries}

    def to_json(self) -> dict[str, Any]:
        """For the header."""
        return {
            "bus": self.bus,
            "devices": [device.to_json() for device in self.devices],
            "drivers": [asdict(driver) for driver in self.drivers],
        }

    @classmethod
    def from_json(cls, raw: Any) -> BusState:
        """Raises TypeError, KeyError."""
        return cls(boolean(obj(raw)["bus"]), devices_of(raw["devices"]), drivers_of(raw["drivers"]))


def devices_of(raw: Any) -> tuple[SysfsDevice, ...]:
    """A list of devices. Raises TypeError, KeyError."""
    return tuple(SysfsDevice.from_json(item) for item in objects(raw))


def drivers_of(raw: Any) -> tuple[SysfsDriver, ...]:
    """A list of drivers. Raises TypeError, KeyError."""
    return tuple(SysfsDriver.from_json(item) for item in objects(raw))
