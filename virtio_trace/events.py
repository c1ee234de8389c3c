# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts that a recording holds: one Event a line, between its header and its trailer.

An event names kernel things by their names and ids, never by kernel addresses: those are reused
within a boot and would leak the layout that KASLR hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from virtio_trace.errors import BadInputError

ENTRY = "entry"
RETURN = "return"
MODULE = "module"
KINDS = (ENTRY, RETURN, MODULE)


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """Which device an event is about, as far as the kernel knew at that moment.

    ``address`` is the name of the parent device on ``bus`` (0000:00:02.0 on pci,
    a003e00.virtio_mmio on platform) and what a device is known by here. ``index`` is the N of
    virtioN, given by register_virtio_device. ``id`` and ``vendor`` are struct virtio_device_id;
    the PCI numbers are the struct pci_dev's.
    """

    address: str
    bus: str
    index: int | None = None
    id: int | None = None
    vendor: int | None = None
    pci_vendor: int | None = None
    pci_device: int | None = None


@dataclass(slots=True)
class Event:
    """One fact, in the order in which the kernel's ring buffer took them.

    ``seq`` counts from 1 and skips a number for each event that was lost before; ``ns`` is
    CLOCK_MONOTONIC in nanoseconds. ``probe`` is the probe point's own name, the same on every
    kernel, ``function`` the symbol that was armed for it here and ``module`` whose code that is
    (None: built into the kernel); of a ``module`` event, ``module`` is the module that was
    loaded. ``result`` and ``duration_ns`` are a return's; None is unknown or has none.
    """

    seq: int
    ns: int
    cpu: int
    tid: int
    comm: str
    kind: str
    probe: str | None = None
    function: str | None = None
    module: str | None = None
    device: DeviceRef | None = None
    driver: str | None = None
    result: int | None = None
    duration_ns: int | None = None

    @property
    def symbol(self) -> str:
        """The function and whose code it is, as the kernel prints it: virtnet_probe [virtio_net]."""
        name = self.function or "?"
        return f"{name} [{self.module}]" if self.module else name

    def to_json(self) -> dict[str, Any]:
        """A flat object without the members that are unknown."""
        line = {name: getattr(self, name) for name in _SCALARS}
        line = {name: value for name, value in line.items() if value is not None}
        if self.device is not None:
            ref = {name: getattr(self.device, name) for name in DeviceRef.__slots__}
            line["device"] = {name: value for name, value in ref.items() if value is not None}
        return line


_SCALARS = tuple(name for name in Event.__slots__ if name != "device")
_REQUIRED = {"seq": int, "ns": int, "cpu": int, "tid": int, "comm": str, "kind": str}
_OPTIONAL = {
    "probe": str,
    "function": str,
    "module": str,
    "driver": str,
    "result": int,
    "duration_ns": int,
}
_REF_TYPES = {"address": str, "bus": str} | dict.fromkeys(
    ("index", "id", "vendor", "pci_vendor", "pci_device"), int
)


class EventReader:
    """Turns parsed JSON lines into Events; keeps one DeviceRef for all events that say the same."""

    def __init__(self) -> None:
        self._refs: dict[tuple[tuple[str, Any], ...], DeviceRef] = {}

    def event(self, raw: dict[str, Any]) -> Event:
        """Raises BadInputError where a member is missing, of another type, or the kind unknown."""
        get = raw.get
        for name, kind in _REQUIRED.items():
            if type(get(name)) is not kind:
                raise BadInputError(f"event without a valid {name!r}")
        for name, kind in _OPTIONAL.items():
            if name in raw and type(raw[name]) is not kind:
                raise BadInputError(f"event with an invalid {name!r}")
        if raw["kind"] not in KINDS:
            raise BadInputError(
                f"unknown event kind {raw['kind']!r}", "a newer virtio-trace may know it"
            )
        if raw["kind"] == MODULE:
            if "module" not in raw:
                raise BadInputError("module event without a 'module'")
        elif "probe" not in raw:
            raise BadInputError(f"{raw['kind']} event without a 'probe'")
        device = get("device")
        return Event(
            raw["seq"],
            raw["ns"],
            raw["cpu"],
            raw["tid"],
            raw["comm"],
            raw["kind"],
            get("probe"),
            get("function"),
            get("module"),
            None if device is None else self._ref(device),
            get("driver"),
            get("result"),
            get("duration_ns"),
        )

    def _ref(self, raw: Any) -> DeviceRef:
        try:
            key = tuple(raw.items())
            known = self._refs.get(key)
            if known is None:
                for name, value in key:
                    if type(value) is not _REF_TYPES[name]:
                        raise TypeError(name)
                known = self._refs[key] = DeviceRef(**raw)
        except (AttributeError, KeyError, TypeError) as error:
            raise BadInputError(f"event with a damaged 'device': {error}") from error
        return known
