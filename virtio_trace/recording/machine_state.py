# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording has beside its events, for the reasons: the end in sysfs, the kernel's log,
and what forbids modules and init functions.

``kernel/`` reads them, header and trailer keep them; recordings from before them have none, and
a reason then says that it is unknown. All of it is as the kernel showed it, nothing derived.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from virtio_trace.errors import BadInputError
from virtio_trace.virtio.numbers import PCI_MODERN_FIRST

_T = TypeVar("_T")
_NUMBER_END = 1 << 63


@dataclass(frozen=True, slots=True)
class LogLine:
    """A message of the kernel's log: ``ns`` since boot by the log's own clock, ``level`` as in
    syslog(2), ``device`` as dev_printk's DEVICE has it (+virtio:virtio1, +pci:0000:00:03.0)."""

    ns: int
    level: int
    text: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """The messages since arming that name virtio, its drivers or its devices, debug messages left
    out. ``lost``: messages that the kernel overwrote, or that found no room here. ``behind_ns``:
    how far the log's clock was behind CLOCK_MONOTONIC, at most; None where no message came."""

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
                _number(line["ns"]),
                _number(line["level"]),
                _is(str, line["text"]),
                _perhaps(str, line.get("device")),
            )
            for line in _objects(raw["lines"])
        )
        behind = raw.get("behind_ns")
        if behind is not None and (type(behind) is not int or abs(behind) >= _NUMBER_END):
            raise TypeError("behind_ns")
        return cls(lines, _is(bool, raw["lost"]), behind)


@dataclass(frozen=True, slots=True)
class PciFunction:
    """A PCI device that is a virtio one by its ids (VirtIO 4.1.2), and the driver it has.
    ``suppliers`` are the devices that its links in sysfs name; ``override`` its driver_override;
    ``iommu`` the address of the VirtIO IOMMU that ACPI's table VIOT puts it behind."""

    address: str
    device: int
    subsystem_device: int | None = None
    driver: str | None = None
    override: str | None = None
    suppliers: tuple[str, ...] = ()
    iommu: str | None = None

    @property
    def virtio_id(self) -> int | None:
        """The virtio device type's number (VirtIO 4.1.2; virtio_pci_modern_dev.c)."""
        modern = self.device - PCI_MODERN_FIRST
        return modern if modern >= 0 else self.subsystem_device


@dataclass(frozen=True, slots=True)
class Final:
    """The machine at the recording's end. None is what could not be read.

    ``autoprobe`` by bus: its drivers_autoprobe; ``registered``: whether the PCI bus has the driver
    virtio-pci; ``deferred``: device to reason, by devices_deferred in debugfs; ``modules``: those
    of the evidence's modules that are loaded; devices and drivers as the header's snapshot;
    ``initrd_left``: whether the system had left its initrd, None where it had none.
    """

    autoprobe: dict[str, bool | None]
    pci: tuple[PciFunction, ...] = ()
    registered: bool | None = None
    deferred: dict[str, str | None] | None = None
    modules: tuple[str, ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    drivers: tuple[dict[str, Any], ...] = ()
    initrd_left: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """For the trailer."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Any) -> Final:
        """Raises TypeError, KeyError. The bus's devices and drivers are checked by the caller."""
        deferred = raw["deferred"]
        return cls(
            autoprobe={_is(str, k): _perhaps(bool, v) for k, v in raw["autoprobe"].items()},
            pci=tuple(_pci(item) for item in _objects(raw["pci"])),
            registered=_perhaps(bool, raw["registered"]),
            deferred=None
            if deferred is None
            else {_is(str, k): _perhaps(str, v) for k, v in deferred.items()},
            modules=_strings(raw["modules"]),
            devices=tuple(_objects(raw["devices"])),
            drivers=tuple(_objects(raw["drivers"])),
            initrd_left=_perhaps(bool, raw.get("initrd_left")),
        )


@dataclass(frozen=True, slots=True)
class Initrd:
    """The initrd in which the system was when the recording began: which of the evidence's modules
    have a file in it."""

    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forbidden:
    """One rule that keeps a module or an init function from its work: ``what`` names it,
    ``by`` is the kernel's parameter or modprobe's command, ``where`` the file that has it."""

    what: str
    by: str
    where: str

    @property
    def words(self) -> str:
        """``module_blacklist=virtio_net on the kernel command line``."""
        if self.where == COMMAND_LINE:
            return f"{self.by}={self.what} is on the kernel command line"
        return f'"{self.by} {self.what}" is in {self.where}'


COMMAND_LINE = "the kernel command line"
MODULE_BLACKLIST = "module_blacklist"
INITCALL_BLACKLIST = "initcall_blacklist"


def forbidden_from_json(raw: Any) -> tuple[Forbidden, ...]:
    """The header's list. Raises TypeError, KeyError."""
    return tuple(
        Forbidden(*(_is(str, item[name]) for name in ("what", "by", "where")))
        for item in _objects(raw)
    )


def initrd_from_json(raw: Any) -> Initrd | None:
    """The header's ``initrd``. Raises TypeError, KeyError."""
    return None if raw is None else Initrd(_strings(raw["modules"]))


def final_from_json(raw: Any) -> Final | None:
    """The trailer's ``final``. Raises BadInputError."""
    try:
        return None if raw is None else Final.from_json(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"damaged trailer: final: {error}") from error


def log_from_json(raw: Any) -> Log | None:
    """The trailer's ``log``. Raises BadInputError."""
    try:
        return None if raw is None else Log.from_json(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"damaged trailer: log: {error}") from error


def _pci(raw: dict[str, Any]) -> PciFunction:
    return PciFunction(
        address=_is(str, raw["address"]),
        device=_number(raw["device"]),
        subsystem_device=_perhaps(int, raw.get("subsystem_device")),
        driver=_perhaps(str, raw.get("driver")),
        override=_perhaps(str, raw.get("override")),
        suppliers=_strings(raw["suppliers"]),
        iommu=_perhaps(str, raw.get("iommu")),
    )


def _objects(raw: Any) -> list[dict[str, Any]]:
    return [_is(dict, item) for item in _is(list, raw)]


def _strings(raw: Any) -> tuple[str, ...]:
    return tuple(_is(str, item) for item in _is(list, raw))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _NUMBER_END:
        raise TypeError("not a number")
    return value


def _is(kind: type[_T], value: Any) -> _T:
    if type(value) is not kind:
        raise TypeError(f"not of type {kind.__name__}")
    return value


def _perhaps(kind: type, value: Any) -> Any:
    return None if value is None else _number(value) if kind is int else _is(kind, value)
