# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's state besides the events: at the end, its log, and blacklists of modules.

kernel/running reads these; header and trailer keep them as the kernel showed them. Older
recordings lack them, and whatever depends on them is then unknown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from virtio_trace.recording.bus_state import SysfsDevice, SysfsDriver, devices_of, drivers_of
from virtio_trace.recording.json_types import (
    boolean,
    count,
    integer,
    mapping,
    obj,
    objects,
    optional,
    string,
    strings,
)
from virtio_trace.virtio.numbers import PCI_MODERN_FIRST


@dataclass(frozen=True, slots=True)
class LogLine:
    """A message of the kernel's log. ``ns`` is nanoseconds since boot by the log's clock, ``level``
    as in syslog(2), ``device`` dev_printk's DEVICE (+virtio:virtio1, +pci:0000:00:03.0)."""

    ns: int
    level: int
    text: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """The messages since arming that name virtio, its drivers or its devices, without debug
    messages, and warnings that name their disks or interfaces. ``lost``: the kernel overwrote some,
    or they exceeded the limit here. ``behind_ns``: how far the log's clock is behind
    CLOCK_MONOTONIC, at most; None if there was no message."""

    lines: tuple[LogLine, ...] = ()
    lost: bool = False
    behind_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For the trailer."""
        lines = [asdict(line) for line in self.lines]
        return {"lost": self.lost, "behind_ns": self.behind_ns, "lines": lines}

    @classmethod
    def from_json(cls, raw: Any) -> Log:
        """Raises TypeError, KeyError."""
        lines = tuple(
            LogLine(
                count(line["ns"]),
                count(line["level"]),
                string(line["text"]),
                optional(string, line.get("device")),
            )
            for line in objects(raw["lines"])
        )
        return cls(lines, boolean(raw["lost"]), optional(integer, raw.get("behind_ns")))


@dataclass(frozen=True, slots=True)
class PciFunction:
    """A PCI device with the ids of a virtio device (VirtIO 4.1.2), and its driver.
    ``suppliers`` are the devices that its supplier links in sysfs name; ``override`` is its
    driver_override, ``iommu`` the address of the VirtIO IOMMU that ACPI's VIOT puts it behind."""

    address: str
    device: int
    subsystem_device: int | None = None
    driver: str | None = None
    override: str | None = None
    suppliers: tuple[str, ...] = ()
    iommu: str | None = None

    @classmethod
    def from_json(cls, raw: Any) -> PciFunction:
        """Raises TypeError, KeyError."""
        return cls(
            address=string(raw["address"]),
            device=count(raw["device"]),
            subsystem_device=optional(count, raw.get("subsystem_device")),
            driver=optional(string, raw.get("driver")),
            override=optional(string, raw.get("override")),
            suppliers=strings(raw["suppliers"]),
            iommu=optional(string, raw.get("iommu")),
        )

    @property
    def virtio_id(self) -> int | None:
        """The virtio device type's number (VirtIO 4.1.2; virtio_pci_modern_dev.c)."""
        modern = self.device - PCI_MODERN_FIRST
        return modern if modern >= 0 else self.subsystem_device


@dataclass(frozen=True, slots=True)
class EndState:
    """The machine at the recording's end. None: could not be read.

    ``autoprobe`` by bus: its drivers_autoprobe. ``registered``: whether the PCI bus has the driver
    virtio-pci. ``deferred``: device to reason, from devices_deferred in debugfs. ``modules``: those
    of the evidence's modules that are loaded. ``devices`` and ``drivers``: the VirtIO bus.
    ``initrd_left``: whether the system had left its initrd; None if it had none.
    """

    autoprobe: dict[str, bool | None]
    pci: tuple[PciFunction, ...] = ()
    registered: bool | None = None
    deferred: dict[str, str | None] | None = None
    modules: tuple[str, ...] = ()
    devices: tuple[SysfsDevice, ...] = ()
    drivers: tuple[SysfsDriver, ...] = ()
    initrd_left: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The trailer's ``final``."""
        return {**asdict(self), "devices": [device.to_json() for device in self.devices]}

    @classmethod
    def from_json(cls, raw: Any) -> EndState:
        """Raises TypeError, KeyError."""
        deferred = raw["deferred"]
        return cls(
            autoprobe=mapping(lambda value: optional(boolean, value), raw["autoprobe"]),
            pci=tuple(PciFunction.from_json(item) for item in objects(raw["pci"])),
            registered=optional(boolean, raw["registered"]),
            deferred=None
            if deferred is None
            else mapping(lambda value: optional(string, value), deferred),
            modules=strings(raw["modules"]),
            devices=devices_of(raw["devices"]),
            drivers=drivers_of(raw["drivers"]),
            initrd_left=optional(boolean, raw.get("initrd_left")),
        )

    @property
    def addresses(self) -> set[str]:
        """The bus addresses of all its devices."""
        return {function.address for function in self.pci} | {d.address for d in self.devices}

    @property
    def carried(self) -> set[str]:
        """The interfaces and disks of all its VirtIO devices."""
        return {name for device in self.devices for name in device.carries}


@dataclass(frozen=True, slots=True)
class Initrd:
    """The initrd that the system was in when the recording began. ``modules``: which of the
    evidence's modules have a file in it. ``only``: the recorder had no other module files, so what
    the root file system has is unknown."""

    modules: tuple[str, ...]
    only: bool = False

    def to_json(self) -> dict[str, Any]:
        """The header's ``initrd``."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Any) -> Initrd:
        """Raises TypeError, KeyError."""
        return cls(strings(obj(raw)["modules"]), boolean(raw.get("only", False)))


COMMAND_LINE = "the kernel command line"
MODULE_BLACKLIST = "module_blacklist"
INITCALL_BLACKLIST = "initcall_blacklist"


@dataclass(frozen=True, slots=True)
class BlacklistRule:
    """A rule that keeps a module from being loaded, or an init function from being called.

    ``what`` names it. ``by`` is the kernel's parameter or modprobe's command, ``where`` its
    file, or COMMAND_LINE.
    """

    what: str
    by: str
    where: str

    @property
    def words(self) -> str:
        """``module_blacklist=virtio_net is on the kernel command line``."""
        if self.where == COMMAND_LINE:
            return f"{self.by}={self.what} is on the kernel command line"
        return f'"{self.by} {self.what}" is in {self.where}'

    def to_json(self) -> dict[str, Any]:
        """An item of ``forbidden``."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Any) -> BlacklistRule:
        """Raises TypeError, KeyError."""
        return cls(string(raw["what"]), string(raw["by"]), string(raw["where"]))
