# SPDX-License-Identifier: GPL-2.0-or-later
"""What must alternate: a registration, a binding or a suspend ends before the next one begins.

The driver core guarantees it (drivers/base/dd.c does not probe a bound device again; driver.c
registers a name once). A second beginning, or an end without a beginning, is an error.
"""

from __future__ import annotations

from typing import NamedTuple

from virtio_trace.check import suspend_rules
from virtio_trace.check.findings import CheckContext
from virtio_trace.check.scope import CORE_MODULES, UNKNOWN
from virtio_trace.graph.attempts import around
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.follower import Watched
from virtio_trace.graph.model import Binding, Device
from virtio_trace.virtio import transports

_PROBE, _REMOVE, _UNREGISTER = "virtio_dev_probe", "virtio_dev_remove", "unregister_virtio_device"
BUS, DRIVERS, DRIVER_PROBES, INTERFACES, SUSPENDS = range(5)
"""What calls are judged by; the order of the findings."""

KINDS: dict[str, int] = {
    "bus_register": BUS,
    "register_virtio_driver": DRIVERS,
    "unregister_virtio_driver": DRIVERS,
    "driver_probe": DRIVER_PROBES,
    "virtio_pci_modern_probe": INTERFACES,
    "virtio_pci_legacy_probe": INTERFACES,
    **dict.fromkeys(suspend_rules.PROBES, SUSPENDS),
}
"""Probe points to what their calls are judged by."""

_MOST = 1000
"""Calls that are remembered before those that are over are forgotten."""


class Calls:
    """Judges the calls of KINDS, in the order in which they were entered."""

    def __init__(self, context: CheckContext) -> None:
        self._bus: Call | None = None
        header = context.graph.recording.header
        self._before = {known.name for known in header.snapshot.drivers}
        self._there: dict[str, Call | None] = {}
        self._most = _MOST
        self._inside: dict[Call, Call] = {}
        self._first: dict[tuple[Call, str | None], Call] = {}
        self.suspends = suspend_rules.Suspends()

    def judge(self, context: CheckContext, watched: Watched) -> None:
        """Judge the next call."""
        call = watched.call
        kind = KINDS[str(call.event.probe)]
        if len(self._inside) + len(self._first) > self._most:
            self._forget(call.event.seq)
        if kind == BUS:
            self._buses(context, call)
        elif kind == DRIVERS:
            self._drivers(context, call)
        elif kind == DRIVER_PROBES:
            self._driver_probe(context, watched)
        elif kind == INTERFACES:
            self._interface(context, call)
        else:
            self.suspends.judge(context, call)

    def _forget(self, seq: int) -> None:
        """Forget the calls that had returned at the event SEQ."""
        self._inside = {o: c for o, c in self._inside.items() if not _is_over(o, seq)}
        self._first = {key: c for key, c in self._first.items() if not _is_over(key[0], seq)}
        self._most = _MOST + 2 * (len(self._inside) + len(self._first))

    def _buses(self, context: CheckContext, call: Call) -> None:
        """The VirtIO bus is registered once."""
        if call.result != 0:
            return
        if self._bus is not None:
            message = "the VirtIO bus was registered twice"
            context.missing("bus-registered", "virtio", message, self._bus, call)
        self._bus = self._bus or call

    def _drivers(self, context: CheckContext, call: Call) -> None:
        """A driver name is not registered again before it is unregistered."""
        step, name, there = "driver-registered", call.event.driver, self._there
        if name is None:
            return
        known = name in there
        if not known and name in self._before and _was_there(context, call.event.ns):
            there[name], known = None, True
        if call.event.probe == "unregister_virtio_driver":
            if not known and name not in self._before:
                message = f"{name} was unregistered, but had not registered"
                context.missing(step, name, message, call)
            there.pop(name, None)
            self._before.discard(name)
        elif call.result in (0, None):
            first = there.get(name)
            sure = call.result == 0 and (first is None or first.result == 0)
            if known and sure and context.sees_all("unregister_virtio_driver"):
                message = f"{name} was registered twice without being unregistered in between"
                context.missing(step, name, message, first, call)
            there[name] = call

    def _driver_probe(self, context: CheckContext, watched: Watched) -> None:
        """Only virtio_dev_probe calls a driver's own probe function, and only once."""
        step, call = "driver-probed", watched.call
        outer, ref = around(call, _PROBE), call.event.device
        subject = ref.address if ref is not None else call.event.driver or UNKNOWN
        theirs = outer.event.device if outer is not None else None
        if outer is None or (theirs and ref and theirs.address != ref.address):
            if not watched.is_bindings:
                message = f"{call.event.symbol} was called outside the device's {_PROBE}"
                context.missing(step, subject, message, call, also=(_PROBE,))
        elif call.event.driver not in (None, outer.event.driver):
            message = f"{call.event.symbol} of {call.event.driver} ran in another driver's {_PROBE}"
            context.missing(step, subject, message, outer, call)
        elif outer in self._inside:
            message = f"{call.event.symbol} was called twice by one {_PROBE}"
            context.missing(step, subject, message, self._inside[outer], call)
        else:
            self._inside[outer] = call

    def _interface(self, context: CheckContext, call: Call) -> None:
        """virtio_pci_probe tries each interface at most once (virtio_pci_common.c)."""
        ref, outer = call.event.device, call.parent
        if outer is None or ref is None:
            return
        before = self._first.setdefault((outer, call.event.probe), call)
        if before is not call:
            message = f"{call.event.symbol} was called twice by {outer.event.symbol}"
            context.missing("transport-probed", ref.address, message, before, call)


def _is_over(outer: Call, seq: int) -> bool:
    return outer.ret is not None and outer.ret.seq < seq


def _was_there(context: CheckContext, ns: int) -> bool | None:
    """Whether the snapshot was taken before NS; None if that is unknown."""
    header = context.graph.recording.header
    if header.snapshot_ns is not None:
        return ns > header.snapshot_ns
    # older recordings only have the time of the header, which was written after the snapshot
    return True if ns > (header.started_ns or ns) else None


class _Registration(NamedTuple):
    """What is kept of a device's registration; ``seqs`` are empty if there is none."""

    seqs: tuple[int, ...]
    ns: int
    in_snapshot: bool
    unregistered: bool


class Registrations:
    """A PCI function or an MMIO slot is not registered again before it is unregistered."""

    def __init__(self) -> None:
        self._there: dict[str, _Registration] = {}
        self._open: dict[str, list[Device]] = {}

    def judge(self, context: CheckContext, device: Device, section: int, is_end: bool) -> None:
        """Judge DEVICE; those before it at its address were judged. If one of them had not
        returned from its registration, DEVICE waits for the end."""
        waiting = self._open.get(device.address)
        register = device.register
        if not is_end and (waiting or (register is not None and register.is_open)):
            self._open.setdefault(device.address, []).append(device)
            return
        context.judge(section, device.order, self._judge, device)

    def waiting(self) -> list[Device]:
        """The devices that wait; they are not to be judged before the end."""
        found = [device for devices in self._open.values() for device in devices]
        self._open.clear()
        return found

    def _judge(self, context: CheckContext, device: Device) -> None:
        if device.bus not in transports.BY_BUS:
            return
        call, last = device.register, self._there.get(device.address)
        new = _Registration(
            tuple(call.seqs) if call is not None else (),
            call.event.ns if call is not None else 0,
            device.snapshot is not None,
            device.unregister is not None,
        )
        if call is None or call.result not in (0, None):
            if device.snapshot is not None:
                self._there[device.address] = new
            return
        if last is not None and not last.unregistered:
            known = not last.in_snapshot or _was_there(context, new.ns)
            if known and context.sees_all(_UNREGISTER):
                message = "registered twice without being unregistered in between"
                step = "device-registered"
                context.missing(step, device.address, message, *last.seqs, *new.seqs)
        self._there[device.address] = new


def bindings(context: CheckContext, device: Device) -> None:
    """Bindings and removals alternate, and a binding's result is that of what it called."""
    _bindings(context, device)
    for binding in device.bindings:
        _refusals(context, binding)


def _bindings(context: CheckContext, device: Device) -> None:
    """A device is bound from a virtio_dev_probe that returned 0 until virtio_dev_remove."""
    if not context.sees_all(_PROBE, _REMOVE):
        return
    step = "bus-probed"
    turns = [binding.call for binding in device.bindings] + device.removals
    turns.sort(key=lambda call: call.event.seq)
    holder, known = _holder(context, device, turns)
    for call in turns:
        name = call.event.driver or "a driver"
        if call.event.probe == _PROBE:
            if holder is not None:
                message = f"{name} was probed, although the device already had a driver"
                context.bad(step, device.address, message, holder[1], call)
            failed = call.result not in (0, None)
            holder, known = None if failed else (name, call), call.result is not None
        else:
            if known and holder is None:
                message = f"{name} was removed, although the device had no driver"
                context.bad(step, device.address, message, call)
            elif known and holder is not None and call.event.driver not in (None, holder[0]):
                message = f"{name} was removed, although the device was bound to {holder[0]}"
                context.bad(step, device.address, message, holder[1], call)
            holder, known = None, True
    if known and holder is not None and device.unregister is not None:
        message = f"unregistered while bound to {holder[0]} ({_REMOVE} was not called)"
        context.bad(step, device.address, message, holder[1], device.unregister)


def _holder(
    context: CheckContext, device: Device, turns: list[Call]
) -> tuple[tuple[str, Call | None] | None, bool]:
    """The driver DEVICE is bound to at first (none, or that of the snapshot), and whether it is
    known."""
    if device.snapshot is None:
        return None, True
    name = device.snapshot.driver
    first = turns[0] if turns else device.unregister
    known = first is None or _was_there(context, first.event.ns) is True
    return ((name, None) if name and known else None), known


def _refusals(context: CheckContext, binding: Binding) -> None:
    """virtio_dev_probe returns the error of the driver's validate function or of
    virtio_features_ok (drivers/virtio/virtio.c)."""
    found, outer = binding.negotiation, binding.call
    for call in (found.validate, found.features_ok):
        if call is not None and (call.result or 0) < 0 and outer.result == 0:
            message = f"{outer.event.symbol} returned 0, although {failure(call)}"
            context.bad("bus-probed", binding.device.address, message, call, outer)


def inits(context: CheckContext) -> None:
    """A module whose init failed is unloaded, so nothing that it registered may remain."""
    evidence = context.graph.recording.header.evidence
    staying = {
        driver.facts.module
        for driver in context.graph.drivers.values()
        if driver.facts is not None
        and driver.unregister is None
        and driver.register is not None
        and driver.register.result == 0
    }
    of_devices = {facts.module for facts in evidence.transports} | CORE_MODULES
    for module, call in context.graph.inits.items():
        if (call.result or 0) < 0 and (module in staying or module in of_devices):
            context.bad("driver-loaded", module, failure(call), call)
