# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's own files say should happen: drivers, transports and their functions.

kernel/ reads this from .ko files and images; the recording's header keeps it, and the check uses
it wherever the recording is read. Numbers are those of ``include/linux/virtio.h`` and
``include/linux/mod_devicetable.h`` of that kernel.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from virtio_trace.recording.json_types import (
    array,
    boolean,
    damaged,
    mapping,
    optional,
    string,
    strings,
    u32,
)

_HINT = "record again; this recording does not say what the kernel's files held"

VIRTIO_DEV_ANY_ID = 0xFFFFFFFF
"""The wildcard in ``struct virtio_device_id`` (include/linux/mod_devicetable.h)."""


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """One ``struct virtio_driver``, from a .ko file, a kernel image or the running kernel.

    ``ids`` are the (device, vendor) pairs of its id_table, without the terminating zero entry.
    ``functions`` has every member that is a function, by member name; None is not set.
    ``features`` are the bits of feature_table, ``features_legacy`` those of feature_table_legacy;
    None is unknown. ``file`` is relative to the module tree, or as the user named it; /proc/kcore
    if it was read from the running kernel's memory. ``module``: for a built-in driver
    (``builtin``), the module it would be if built as one; empty if that is unknown.
    """

    name: str
    module: str
    file: str
    struct: str
    ids: tuple[tuple[int, int], ...]
    functions: dict[str, str | None]
    init: str | None = None
    aliases: tuple[str, ...] = ()
    build_id: str | None = None
    builtin: bool = False
    features: tuple[int, ...] | None = None
    features_legacy: tuple[int, ...] | None = None

    @property
    def matches(self) -> tuple[str, ...]:
        """The id_table as module aliases (scripts/mod/file2alias.c, do_virtio_entry)."""
        whole = (f"virtio:d{_hex_or_star(dev)}v{_hex_or_star(ven)}" for dev, ven in self.ids)
        return tuple(alias.rstrip("*") + "*" for alias in whole)  # add_wildcard: never two

    def accepts(self, device: int, vendor: int) -> bool:
        """Whether the id_table matches (drivers/virtio/virtio.c, virtio_id_match)."""
        return any(
            dev in (device, VIRTIO_DEV_ANY_ID) and ven in (vendor, VIRTIO_DEV_ANY_ID)
            for dev, ven in self.ids
        )


@dataclass(frozen=True, slots=True)
class TransportFacts:
    """One ``struct pci_driver`` or ``struct platform_driver`` that puts devices on the bus."""

    name: str
    module: str
    file: str
    struct: str
    bus: str
    matches: tuple[str, ...]
    functions: dict[str, str | None]
    init: str | None = None
    build_id: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read from one kernel's files.

    ``builtin`` names the built-in modules. ``unread`` has the files that could not be read, with
    the reason. ``builtin_aliases`` are the aliases of built-in modules for VirtIO devices, by
    module; kernels have them since 6.18 (modules.builtin.modinfo).
    """

    release: str
    drivers: tuple[DriverFacts, ...] = ()
    transports: tuple[TransportFacts, ...] = ()
    builtin: tuple[str, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)
    builtin_aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def modules(self) -> set[str]:
        """The modules that have a driver or a transport."""
        found = {d.module for d in self.drivers} | {t.module for t in self.transports}
        return found - {""}

    def driver(self, name: str) -> DriverFacts | None:
        """The driver whose ``driver.name`` is NAME, or None."""
        return next((d for d in self.drivers if d.name == name), None)

    def drivers_for(self, device: int, vendor: int) -> tuple[DriverFacts, ...]:
        """Every driver whose id_table matches."""
        return tuple(d for d in self.drivers if d.accepts(device, vendor))

    def builtin_for(self, device: int, vendor: int) -> str | None:
        """The built-in module with an alias for the device, whether or not its driver has
        registered."""
        modalias = f"virtio:d{device:08X}v{vendor:08X}"
        return next(
            (
                module
                for module, aliases in self.builtin_aliases.items()
                if any(fnmatchcase(modalias, alias) for alias in aliases)
            ),
            None,
        )

    def to_json(self) -> dict[str, Any]:
        """For the recording's header."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Any) -> Evidence:
        """The reverse of :meth:`to_json`. Raises BadInputError on anything else."""
        with damaged("evidence in the header", _HINT):
            return cls(
                release=string(raw["release"]),
                drivers=tuple(_driver(d) for d in array(raw["drivers"])),
                transports=tuple(_transport(t) for t in array(raw["transports"])),
                builtin=strings(raw["builtin"]),
                unread=mapping(string, raw["unread"]),
                builtin_aliases=mapping(strings, raw.get("builtin_aliases", {})),
            )


def _driver(raw: dict[str, Any]) -> DriverFacts:
    ids = tuple((u32(dev), u32(ven)) for dev, ven in array(raw["ids"]))
    builtin = boolean(raw.get("builtin", False))  # older recordings lack it
    return DriverFacts(
        **_common(raw),
        ids=ids,
        aliases=strings(raw["aliases"]),
        builtin=builtin,
        features=optional(_bits, raw.get("features")),
        features_legacy=optional(_bits, raw.get("features_legacy")),
    )


def _transport(raw: dict[str, Any]) -> TransportFacts:
    bus, matches = string(raw["bus"]), strings(raw["matches"])
    return TransportFacts(**_common(raw), bus=bus, matches=matches)


def _common(raw: dict[str, Any]) -> dict[str, Any]:
    strings = {name: string(raw[name]) for name in ("name", "module", "file", "struct")}
    perhaps = {name: optional(string, raw.get(name)) for name in ("init", "build_id")}
    functions = {string(k): optional(string, v) for k, v in raw["functions"].items()}
    return {**strings, **perhaps, "functions": functions}


def _bits(value: Any) -> tuple[int, ...]:
    return tuple(u32(item) for item in array(value))


def _hex_or_star(number: int) -> str:
    return "*" if number == VIRTIO_DEV_ANY_ID else f"{number:08X}"
