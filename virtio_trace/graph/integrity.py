# SPDX-License-Identifier: GPL-2.0-or-later
"""Contradictions among a recording's events, beyond what its counters show. Nothing here judges."""

from __future__ import annotations

from dataclasses import dataclass, field

from virtio_trace.graph.calls import Call
from virtio_trace.recording.events import RETURN, DeviceRef, Event
from virtio_trace.recording.source import Source
from virtio_trace.virtio.transports import PROBES, TRANSPORTS

DRIVERS = frozenset({"register_virtio_driver", "unregister_virtio_driver"})
"""The probe points whose events name a driver but no device."""

DEVICES = frozenset(
    {
        *PROBES, *(name for one in TRANSPORTS for name, _letter in one.interfaces),
        "register_virtio_device",
        "unregister_virtio_device", "virtio_dev_match", "virtio_dev_probe", "virtio_dev_remove",
        "driver_probe", "virtio_features_ok", "set_status", "reset", "get_features", "setup_vq",
        "virtio_device_freeze", "virtio_device_restore",
    }
)  # fmt: skip
"""The probe points whose events name a device."""

PAIRS = frozenset({"virtio_dev_match", "virtio_dev_probe"})
"""The probe points whose events name both a device and a driver."""

Point = tuple[str | None, str | None, str | None]
"""Probe point, function and module."""


@dataclass(slots=True)
class Integrity:
    """What does not fit together, and which probe points have events.

    ``points``: of the events since the snapshot; ``early``: of the events before it. ``orphans``:
    calls with a return but no entry. ``crossed``: calls whose entry and return name different
    things. ``changed``: events whose device ids differ from those of earlier events. ``nameless``:
    events that do not name their device or driver. ``last``: the last event about each device and
    driver, by address and name.
    """

    points: set[Point] = field(default_factory=set)
    early: set[Point] = field(default_factory=set)
    orphans: list[Call] = field(default_factory=list)
    crossed: list[Call] = field(default_factory=list)
    changed: list[Event] = field(default_factory=list)
    nameless: list[Event] = field(default_factory=list)
    last: dict[str, Event] = field(default_factory=dict)


class Examiner:
    """Takes every event, and every call when its return was seen."""

    def __init__(self, recording: Source) -> None:
        self.found = Integrity()
        self._ids: dict[str, DeviceRef] = {}
        self._since = recording.header.snapshot_ns or 0
        self._points = self.found.early

    def event(self, event: Event) -> None:
        """Take EVENT, which is not the load of a module."""
        found, points, ref, driver = self.found, self._points, event.device, event.driver
        if points is found.early and event.ns >= self._since:
            points = self._points = found.points
        points.add((event.probe, event.function, event.module))
        if ref is not None:
            found.last[ref.address] = event
            known = self._ids.get(ref.address)
            if known is not ref and ref.id is not None:
                if known is not None and _differ(known, ref) and not _is_new(event):
                    found.changed.append(event)
                self._ids[ref.address] = ref
        if driver is not None:
            found.last[driver] = event
        if (ref is None or driver is None) and event.kind != RETURN and _is_nameless(event):
            found.nameless.append(event)

    def returned(self, call: Call) -> None:
        """Take CALL, whose return was seen."""
        entry, ret = call.entry, call.ret
        if entry is None:
            self.found.orphans.append(call)
        elif ret is not None and _is_crossed(entry, ret):
            self.found.crossed.append(call)


def _is_nameless(event: Event) -> bool:
    if event.probe in DEVICES and event.device is None:
        return True
    return event.driver is None and (event.probe in DRIVERS or event.probe in PAIRS)


def _is_new(event: Event) -> bool:
    """Whether the device may differ from the previous one at its address."""
    return event.probe == "register_virtio_device" and event.kind != RETURN


def _differ(first: DeviceRef, last: DeviceRef) -> bool:
    """Whether the two have different ids. An id that only one of them has is no difference."""
    pairs = (first.id, last.id), (first.vendor, last.vendor), (first.index, last.index)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _is_crossed(entry: Event, ret: Event) -> bool:
    """Whether the two name different devices, drivers or modules. An id or driver that only one of
    them has is no difference."""
    first, last = entry.device, ret.device
    if first is not last and first is not None and last is not None:
        if first.address != last.address or first.bus != last.bus:
            return True
        if _differ(first, last):
            return True
    drivers = entry.driver, ret.driver
    return (None not in drivers and drivers[0] != drivers[1]) or entry.module != ret.module
