# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check judges: everything, or some devices and drivers (--device, --driver, --rebind).

A finding belongs to the scope if its subject is one of the devices, a driver of one of them, the
module of such a driver or of the devices' transport, or the bus as a whole. What a recording lacks
belongs to it unless it can only concern others: a loss always does, a probe point unless it is a
function of another driver or of a transport that none of the devices has.

What was there before the recording is not part of what is asked: such a step is not judged. So a
device of which the recording shows nothing does not conform; see verdict.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from virtio_trace.recording.events import MODULE, Event
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.probe_state import ProbeState
from virtio_trace.recording.source import Source
from virtio_trace.virtio import transports

BUS = "virtio"
"""The subject of findings about the bus."""

UNKNOWN = "unknown"
"""The subject of a finding about a call that names neither a device nor a driver."""

CORE_MODULES = frozenset(
    {"virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev"}
)
"""Modules that contain no driver and no transport, but that these depend on."""

USES = frozenset({"virtio_dev_probe", "virtio_dev_remove", "driver_probe", "driver_validate"})
"""The probe points whose events show that a driver was used for a device."""

_INIT = "do_init_module"
_OF_DRIVERS = ("driver_probe", "driver_validate")
_OF_TRANSPORTS = (*transports.CONFIG_OPS, "find_vqs_msix")


class Scope:
    """Everything."""

    is_all = True
    addresses: frozenset[str] = frozenset()
    drivers: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """The member ``scope`` of a result or report: {} for everything."""
        if self.is_all:
            return {}
        return {"scope": {"devices": sorted(self.addresses), "drivers": sorted(self.drivers)}}

    def has(self, subject: str) -> bool:
        """Whether a finding about SUBJECT belongs to the scope."""
        return True

    def needs(self, state: ProbeState) -> bool:
        """Whether what the probe point STATE does not show may concern the scope."""
        return True

    def needs_bus(self, bus: str) -> bool:
        """Whether a transport of BUS may concern it."""
        return True

    def needs_file(self) -> bool:
        """Whether what a file of the kernel says, which could not be read, may concern it."""
        return True

    def is_about(self, event: Event) -> bool:
        """Whether the call of EVENT may concern it."""
        return True

    def shows(self, event: Event) -> bool:
        """Whether EVENT names something of it."""
        return True


EVERYTHING = Scope()


@dataclass(frozen=True, eq=False, kw_only=True)
class NamedScope(Scope):
    """The devices at ``addresses``, on ``buses``, and the ``drivers``: those that were named, or
    that concern the devices. ``has_facts``: EVIDENCE has every driver that was used for them."""

    evidence: Evidence
    addresses: frozenset[str]
    drivers: frozenset[str]
    buses: frozenset[str]
    has_facts: bool
    is_all: bool = False
    modules: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        facts = (self.evidence.driver(name) for name in self.drivers)
        found = {known.module for known in facts if known is not None}
        found |= {one.module for one in transports.TRANSPORTS if one.bus in self.buses}
        object.__setattr__(self, "modules", frozenset(found | CORE_MODULES))

    def has(self, subject: str) -> bool:
        if subject in (BUS, UNKNOWN):
            return True
        own = (one.driver_name for one in transports.TRANSPORTS if one.bus in self.buses)
        return subject in self.addresses | self.drivers | self.modules or subject in own

    def needs(self, state: ProbeState) -> bool:
        function = state.function or ""
        if state.probe in _OF_DRIVERS:
            owners = [
                driver.name
                for driver in self.evidence.drivers
                if function in driver.functions.values() and state.module in (None, driver.module)
            ]
            return not owners or not self.drivers.isdisjoint(owners)
        for one in transports.TRANSPORTS:
            own = (one.probe, *(name for name, _ in one.interfaces))
            of_config = state.probe in _OF_TRANSPORTS and function.startswith(one.prefix)
            if state.probe in own or of_config:
                return one.bus in self.buses
        return True

    def needs_bus(self, bus: str) -> bool:
        return bus in self.buses

    def needs_file(self) -> bool:
        return not self.has_facts

    def is_about(self, event: Event) -> bool:
        """A call that names a device is about that; otherwise about its driver or its module."""
        if event.device is not None:
            return event.device.address in self.addresses
        if event.driver is not None:
            return event.driver in self.drivers
        return event.probe != _INIT or _module(event) in (None, *self.modules)

    def shows(self, event: Event) -> bool:
        if event.kind == MODULE or event.probe == _INIT:
            return _module(event) in self.modules
        return self.is_about(event) and (event.device, event.driver) != (None, None)


def _module(event: Event) -> str | None:
    """The module that was loaded, or whose init function was called."""
    if event.kind == MODULE:
        return event.module
    return event.detail.name if event.detail is not None else None


class Asked(Source):
    """RECORDING, of which only SCOPE is asked for: what a report shows."""

    def __init__(self, recording: Source, scope: Scope) -> None:
        super().__init__(recording.header, recording.trailer)
        self._recording = recording
        self.scope = scope

    def __iter__(self) -> Iterator[Event]:
        """Raises BadInputError."""
        return iter(self._recording)

    def raw(self) -> Iterator[bytes]:
        """The bytes of the whole recording."""
        return self._recording.raw()

    @property
    def count(self) -> int:
        """How many events it has."""
        return self._recording.count

    @property
    def last_seq(self) -> int:
        """The sequence number of the last event; 0 without events."""
        return self._recording.last_seq

    @property
    def first_ns(self) -> int | None:
        """The time of the first event, None without events."""
        return self._recording.first_ns


class LiveFilter:
    """Which events to show of those that come. SCOPE is what is known at the beginning; a device
    that comes later belongs to the DRIVERS that were named once one of them is used for it."""

    def __init__(self, scope: Scope, drivers: Collection[str]) -> None:
        self._scope = scope
        self._drivers = {*drivers}
        self._later: set[str] = set()

    def shows(self, event: Event) -> bool:
        """Whether EVENT is to be shown."""
        ref = event.device
        if event.driver in self._drivers and ref is not None and event.probe in USES:
            self._later.add(ref.address)
        return self._scope.shows(event) or (ref is not None and ref.address in self._later)


def scope_of(recording: Source) -> Scope:
    """What is asked for of RECORDING."""
    return recording.scope if isinstance(recording, Asked) else EVERYTHING
