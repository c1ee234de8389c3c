# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's own files say should happen: drivers, transports and their functions.

Plain data, read by ``kernel/`` from .ko files, kept in a recording's header, and used by the
check wherever the recording is read. The numbers are those of ``include/linux/virtio.h`` and
``include/linux/mod_devicetable.h`` of the kernel the files belong to.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from virtio_trace.errors import BadInputError

VIRTIO_DEV_ANY_ID = 0xFFFFFFFF
"""The wildcard in ``struct virtio_device_id`` (include/linux/mod_devicetable.h)."""


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """One ``struct virtio_driver`` as it stands in a .ko file, or in the running kernel.

    ``ids`` are (device, vendor) pairs of its id_table, without the terminating zero entry;
    ``functions`` has every member that is a function, by member name, None where it is not set;
    ``features`` are the bits of feature_table, ``features_legacy`` those of feature_table_legacy,
    None where they are not known.
    ``file`` is relative to the module tree, or as the user named it; /proc/kcore where it was read
    from the running kernel's memory. ``builtin``: its ``module`` is the one that it would be, empty
    where that is not known.
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
    """All that was read of one kernel's files. ``unread``: file to the reason it was refused;
    ``builtin_aliases``: those for VirtIO devices of what is built in, by module, where the kernel
    has them (modules.builtin.modinfo, since 6.18)."""

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
        """The module that is built in and has an alias for the device, whether its driver has
        registered or not."""
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
        try:
            return cls(
                release=_string(raw["release"]),
                drivers=tuple(_driver(d) for d in _list(raw["drivers"])),
                transports=tuple(_transport(t) for t in _list(raw["transports"])),
                builtin=_strings(raw["builtin"]),
                unread={_string(k): _string(v) for k, v in raw["unread"].items()},
                builtin_aliases={
                    _string(module): _strings(aliases)
                    for module, aliases in raw.get("builtin_aliases", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(
                f"the header's evidence is damaged: {type(error).__name__}: {error}",
                "record again; the kernel's files could not be understood from this recording",
            ) from error


def _driver(raw: dict[str, Any]) -> DriverFacts:
    ids = tuple((_u32(dev), _u32(ven)) for dev, ven in _list(raw["ids"]))
    builtin = raw.get("builtin", False)  # older recordings do not have it
    if type(builtin) is not bool:
        raise TypeError("not true or false")
    return DriverFacts(
        **_common(raw),
        ids=ids,
        aliases=_strings(raw["aliases"]),
        builtin=builtin,
        features=_bits_or_null(raw.get("features")),
        features_legacy=_bits_or_null(raw.get("features_legacy")),
    )


def _transport(raw: dict[str, Any]) -> TransportFacts:
    bus, matches = _string(raw["bus"]), _strings(raw["matches"])
    return TransportFacts(**_common(raw), bus=bus, matches=matches)


def _common(raw: dict[str, Any]) -> dict[str, Any]:
    strings = {name: _string(raw[name]) for name in ("name", "module", "file", "struct")}
    perhaps = {name: _string_or_null(raw.get(name)) for name in ("init", "build_id")}
    functions = {_string(k): _string_or_null(v) for k, v in raw["functions"].items()}
    return {**strings, **perhaps, "functions": functions}


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a string")
    return value


def _string_or_null(value: Any) -> str | None:
    return None if value is None else _string(value)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError("not a list")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(_string(item) for item in _list(value))


def _u32(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= VIRTIO_DEV_ANY_ID:
        raise ValueError("not a number of 32 bits")
    return value


def _bits_or_null(value: Any) -> tuple[int, ...] | None:
    return None if value is None else tuple(_u32(item) for item in _list(value))


def _hex_or_star(number: int) -> str:
    return "*" if number == VIRTIO_DEV_ANY_ID else f"{number:08X}"
