# SPDX-License-Identifier: GPL-2.0-or-later
"""What must alternate: a registration, a binding or a suspend ends before the next one begins.

The driver core guarantees it (drivers/base/dd.c does not probe a bound device again; driver.c
registers a name once). A second beginning, or an end without a beginning, is an error.
"""

from __future__ import annotations

from virtio_trace.check import suspend_rules
from virtio_trace.check.findings import CheckContext
from virtio_trace.graph.attempts import around
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Binding, Device
from virtio_trace.virtio import transports

_PROBE, _REMOVE, _UNREGISTER = "virtio_dev_probe", "virtio_dev_remove", "unregister_virtio_device"
_BUS, _DRIVERS, _DRIVER_PROBE, _SUSPENDS = "bus", "drivers", "driver_probe", "suspends"
_INTERFACES = "interfaces"
_KINDS: dict[str | None, str] = {
    "bus_register": _BUS,
    "register_virtio_driver": _DRIVERS,
    "unregister_virtio_driver": _DRIVERS,
    "driver_probe": _DRIVER_PROBE,
    "virtio_pci_modern_probe": _INTERFACES,
    "virtio_pci_legacy_probe": _INTERFACES,
    **dict.fromkeys(suspend_rules.PROBES, _SUSPENDS),
}
_CORE_MODULES = frozenset(
    {"virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev"}
)
"""Modules that contain no driver and no transport, but that these depend on."""


def check(context: CheckContext) -> None:
    """Check everything that must alternate."""
    calls: dict[str | None, list[Call]] = {}
    for call in context.graph.calls:
        calls.setdefault(_KINDS.get(call.event.probe), []).append(call)
    _buses(context, calls.get(_BUS, []))
    _drivers(context, calls.get(_DRIVERS, []))
    _devices(context)
    for device in context.graph.devices:
        _bindings(context, device)
        for binding in device.bindings:
            _refusals(context, binding)
    _driver_probes(context, calls.get(_DRIVER_PROBE, []))
    _interfaces(context, calls.get(_INTERFACES, []))
    suspend_rules.check(context, calls.get(_SUSPENDS, []))
    _inits(context)


def _buses(context: CheckContext, calls: list[Call]) -> None:
    """The VirtIO bus is registered once."""
    done = [call for call in calls if call.result == 0]
    for call in done[1:]:
        message = "the VirtIO bus was registered twice"
        context.missing("bus-registered", "virtio", message, done[0], call)


def _was_there(context: CheckContext, call: Call) -> bool | None:
    """Whether the snapshot was taken before CALL; None if that is unknown."""
    header = context.graph.recording.header
    if header.snapshot_ns is not None:
        return call.event.ns > header.snapshot_ns
    # older recordings only have the time of the header, which was written after the snapshot
    return True if call.event.ns > (header.started_ns or call.event.ns) else None


def _drivers(context: CheckContext, calls: list[Call]) -> None:
    """A driver name is not registered again before it is unregistered."""
    step, header = "driver-registered", context.graph.recording.header
    before = {known.name for known in header.snapshot.drivers}
    there: dict[str, Call | None] = {}
    for call in calls:
        name = call.event.driver
        if name is None:
            continue
        known = name in there
        if not known and name in before and _was_there(context, call):
            there[name], known = None, True
        if call.event.probe == "unregister_virtio_driver":
            if not known and name not in before:
                message = f"{name} was unregistered, but had not registered"
                context.missing(step, name, message, call)
            there.pop(name, None)
            before.discard(name)
        elif call.result in (0, None):
            first = there.get(name)
            sure = call.result == 0 and (first is None or first.result == 0)
            if known and sure and context.sees_all("unregister_virtio_driver"):
                message = f"{name} was registered twice without being unregistered in between"
                context.missing(step, name, message, first, call)
            there[name] = call


def _devices(context: CheckContext) -> None:
    """A PCI function or an MMIO slot is not registered again before it is unregistered."""
    there: dict[str, Device] = {}
    for device in context.graph.devices:
        if device.bus not in transports.BY_BUS:
            continue
        call, last = device.register, there.get(device.address)
        if call is None or call.result not in (0, None):
            if device.snapshot is not None:
                there[device.address] = device
            continue
        if last is not None and last.unregister is None:
            known = last.snapshot is None or _was_there(context, call)
            if known and context.sees_all(_UNREGISTER):
                message = "registered twice without being unregistered in between"
                context.missing("device-registered", device.address, message, last.register, call)
        there[device.address] = device


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
    known = first is None or _was_there(context, first) is True
    return ((name, None) if name and known else None), known


def _driver_probes(context: CheckContext, calls: list[Call]) -> None:
    """Only virtio_dev_probe calls a driver's own probe function, and only once."""
    step = "driver-probed"
    judged = {binding.probe for binding in context.graph.bindings}
    first: dict[Call, Call] = {}
    for call in calls:
        outer, ref = around(call, _PROBE), call.event.device
        subject = ref.address if ref is not None else call.event.driver or "unknown"
        theirs = outer.event.device if outer is not None else None
        if outer is None or (theirs and ref and theirs.address != ref.address):
            if call not in judged:
                message = f"{call.event.symbol} was called outside the device's {_PROBE}"
                context.missing(step, subject, message, call, also=(_PROBE,))
        elif call.event.driver not in (None, outer.event.driver):
            message = f"{call.event.symbol} of {call.event.driver} ran in another driver's {_PROBE}"
            context.missing(step, subject, message, outer, call)
        elif outer in first:
            message = f"{call.event.symbol} was called twice by one {_PROBE}"
            context.missing(step, subject, message, first[outer], call)
        else:
            first[outer] = call


def _refusals(context: CheckContext, binding: Binding) -> None:
    """virtio_dev_probe returns the error of the driver's validate function or of
    virtio_features_ok (drivers/virtio/virtio.c)."""
    found, outer = binding.negotiation, binding.call
    for call in (found.validate, found.features_ok):
        if call is not None and (call.result or 0) < 0 and outer.result == 0:
            message = f"{outer.event.symbol} returned 0, although {failure(call)}"
            context.bad("bus-probed", binding.device.address, message, call, outer)


def _interfaces(context: CheckContext, calls: list[Call]) -> None:
    """virtio_pci_probe tries each interface at most once (drivers/virtio/virtio_pci_common.c)."""
    first: dict[tuple[Call, str | None], Call] = {}
    for call in calls:
        ref, outer = call.event.device, call.parent
        if outer is None or ref is None:
            continue
        before = first.setdefault((outer, call.event.probe), call)
        if before is not call:
            message = f"{call.event.symbol} was called twice by {outer.event.symbol}"
            context.missing("transport-probed", ref.address, message, before, call)


def _inits(context: CheckContext) -> None:
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
    of_devices = {facts.module for facts in evidence.transports} | _CORE_MODULES
    for module, call in context.graph.inits.items():
        if (call.result or 0) < 0 and (module in staying or module in of_devices):
            context.bad("driver-loaded", module, failure(call), call)
