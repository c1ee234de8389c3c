# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a recording's events fit together, whatever its counts say. Nothing here judges."""

from __future__ import annotations

from dataclasses import dataclass, field

from virtio_trace.graph.calls import Call
from virtio_trace.recording.events import MODULE, RETURN, DeviceRef, Event
from virtio_trace.recording.reader import Recording
from virtio_trace.virtio.transports import PROBES, TRANSPORTS

DRIVERS = frozenset({"register_virtio_driver", "unregister_virtio_driver"})
"""The probe points of calls that are about a driver and no device."""

DEVICES = frozenset(
    {
        *PROBES, *(name for one in TRANSPORTS for name, _letter in one.interfaces),
        "register_virtio_device",
        "unregister_virtio_device", "virtio_dev_match", "virtio_dev_probe", "virtio_dev_remove",
        "driver_probe", "virtio_features_ok", "set_status", "reset", "get_features", "setup_vq",
        "virtio_device_freeze", "virtio_device_restore",
    }
)  # fmt: skip
"""The probe points whose events name the device that they are about."""

PAIRS = frozenset({"virtio_dev_match", "virtio_dev_probe"})
"""Those whose events name a driver, too."""


Point = tuple[str | None, str | None, str | None]


@dataclass(slots=True)
class Integrity:
    """``points``: each probe point, function and module that an event since the snapshot shows,
    ``early`` those before it; ``orphans``: calls with a return and no entry; ``crossed``: calls
    whose entry and return name different things; ``changed``: events that name other ids of a
    device than those before; ``nameless``: events that do not name what they are about; ``last``:
    the last event about each device and driver, by address and name."""

    points: set[Point] = field(default_factory=set)
    early: set[Point] = field(default_factory=set)
    orphans: list[Call] = field(default_factory=list)
    crossed: list[Call] = field(default_factory=list)
    changed: list[Event] = field(default_factory=list)
    nameless: list[Event] = field(default_factory=list)
    last: dict[str, Event] = field(default_factory=dict)


def examine(recording: Recording, calls: list[Call]) -> Integrity:
    """Look at every event of RECORDING, and at the CALLS made of them."""
    found = Integrity()
    ids: dict[str, DeviceRef] = {}
    since, points = recording.header.snapshot_ns or 0, found.early
    for event in recording.events:
        if event.kind != MODULE:
            if points is found.early and event.ns >= since:
                points = found.points
            points.add((event.probe, event.function, event.module))
            if (ref := event.device) is not None:
                found.last[ref.address] = event
                known = ids.get(ref.address)
                if known is not ref and ref.id is not None:
                    if known is not None and _differ(known, ref) and not _is_new(event):
                        found.changed.append(event)
                    ids[ref.address] = ref
            if event.driver is not None:
                found.last[event.driver] = event
            unnamed = event.device is None or event.driver is None
            if unnamed and event.kind != RETURN and _is_nameless(event):
                found.nameless.append(event)
    for call in calls:
        if call.entry is None:
            found.orphans.append(call)
        elif call.ret is not None and _is_crossed(call.entry, call.ret):
            found.crossed.append(call)
    return found


def _is_nameless(event: Event) -> bool:
    if event.probe in DEVICES and event.device is None:
        return True
    return event.driver is None and (event.probe in DRIVERS or event.probe in PAIRS)


def _is_new(event: Event) -> bool:
    """Whether the device may be another than the one that was at its address."""
    return event.probe == "register_virtio_device" and event.kind != RETURN


def _differ(first: DeviceRef, last: DeviceRef) -> bool:
    """Whether the two name different ids; one may know more than the other."""
    pairs = (first.id, last.id), (first.vendor, last.vendor), (first.index, last.index)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _is_crossed(entry: Event, ret: Event) -> bool:
    """Whether the two name different devices or drivers; one may know more than the other."""
    first, last = entry.device, ret.device
    if first is not last and first is not None and last is not None:
        if first.address != last.address or first.bus != last.bus:
            return True
        if _differ(first, last):
            return True
    drivers = entry.driver, ret.driver
    return (None not in drivers and drivers[0] != drivers[1]) or entry.module != ret.module
