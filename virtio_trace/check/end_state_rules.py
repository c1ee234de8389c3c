# SPDX-License-Identifier: GPL-2.0-or-later
"""end-state: sysfs at the end of the recording against the state that follows from the events.

sysfs shares no code with the probe points, so each checks the other. If the events are complete, a
contradiction is an error, and names the last event that contradicts sysfs. What only sysfs shows is
unknown. If the two agree, nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from virtio_trace.check.findings import CheckContext
from virtio_trace.check.host_rules import NEEDS_RESET, status_words
from virtio_trace.check.unbound import VIRTIO_PCI
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device, Driver
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.recording.machine_state import EndState
from virtio_trace.virtio.numbers import Status

STEP = "end-state"

_BINDS = ("virtio_dev_probe", "virtio_dev_remove")
_WRITES = ("set_status", "reset")
_REGISTERS = ("register_virtio_device", "unregister_virtio_device")
_DRIVERS = ("register_virtio_driver", "unregister_virtio_driver")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """``message`` describes it; ``events`` show the events' side. It is proof only if all events
    of the probe points ``probes`` were recorded."""

    message: str
    probes: tuple[str, ...]
    events: tuple[Call | int | None, ...]


def check(context: CheckContext) -> None:
    """Compare every device and driver that either side has."""
    trailer = context.graph.recording.trailer
    if trailer is None or trailer.end_state is None or context.running:
        return
    _devices(context, trailer.end_state)
    _drivers(context, trailer.end_state)


def _is_settled(context: CheckContext, subject: str) -> bool:
    """Whether no event about SUBJECT came after sysfs was read."""
    trailer = context.graph.recording.trailer
    last = context.graph.integrity.last.get(subject)
    read = trailer.end_state_ns if trailer else None
    return last is None or read is None or last.ns < read


def _devices(context: CheckContext, final: EndState) -> None:
    latest = context.graph.latest
    shown = {one.address: one for one in final.devices}
    other = _Others(context, final)
    for address, raw in shown.items():
        if address not in latest:
            message = "it is on the VirtIO bus at the end, but no event shows it"
            context.unknown(STEP, address, message)
        elif _is_known(context, latest[address]):
            _write(context, address, _device(latest[address], raw, other))
    for address, device in latest.items():
        if address in shown or not _is_there(device):
            continue
        if address not in context.graph.integrity.last:
            message = "it existed when the recording began, but not at the end: no event shows why"
            context.unknown(STEP, address, message)
        elif _is_known(context, device):
            message = "it was registered, but is not on the VirtIO bus at the end"
            _write(context, address, [Contradiction(message, _REGISTERS, (device.register,))])
    of_buses = {d.address for d in latest.values() if d.bus == "pci"} | shown.keys()
    for function in final.pci:
        if function.driver == VIRTIO_PCI and function.address not in of_buses:
            message = f"bound to {VIRTIO_PCI} at the end, but no event shows it"
            context.unknown(STEP, function.address, message)


def _is_known(context: CheckContext, device: Device) -> bool:
    """Whether events show the state at the end; the snapshot alone shows only the beginning."""
    seen = device.address in context.graph.integrity.last
    return seen and not _is_open(device.register) and _is_settled(context, device.address)


def _write(context: CheckContext, subject: str, found: Iterable[Contradiction]) -> None:
    for one in found:
        if context.sees_all(*one.probes):
            context.bad(STEP, subject, one.message, *one.events)
        else:
            context.unknown(
                STEP, subject, f"{one.message}, or not every event was seen", *one.events
            )


def _is_there(device: Device) -> bool:
    """Whether the device exists, by the events and the snapshot before them."""
    if device.unregister is not None:
        return False
    registered = device.register is not None and device.register.result == 0
    return registered or device.snapshot is not None


def _is_open(call: Call | None) -> bool:
    """Whether what CALL returned is unknown."""
    return call is not None and call.result is None


class _Others:
    """Other information about the devices at the end, by address: the PCI function, and whether the
    host reported the status, which is more direct than sysfs."""

    def __init__(self, context: CheckContext, final: EndState) -> None:
        trailer = context.graph.recording.trailer
        hosts = (trailer.host.devices or ()) if trailer and trailer.host else ()
        self.final = final
        self.deferred = set(final.deferred or ())
        self.functions = {function.address: function for function in final.pci}
        self.told = {host.address for host in hosts if host.status_value is not None}


def _device(device: Device, there: SysfsDevice, other: _Others) -> Iterator[Contradiction]:
    if not _is_there(device):
        call = device.unregister or device.register or device.transport
        message = "it is on the VirtIO bus at the end, but the events show that it is not"
        yield Contradiction(message, _REGISTERS, (call,))
        return
    yield from _names(device, there)
    last = device.bindings[-1].call if device.bindings else None
    if last is not None and last.result is None:
        return
    bound, driver = device.bound_to, there.driver
    turns = [call for call in (last, *device.removals[-1:]) if call is not None]
    if bound != driver:
        message = f"bound to {driver or 'none'} at the end, but to {bound or 'none'} by the events"
        yield Contradiction(message, _BINDS, (*turns, *(() if turns else (device.register,))))
    elif bound is not None and {device.address, there.name} & other.deferred:
        message = f"bound to {bound}, but its probe is deferred at the end"
        yield Contradiction(message, _BINDS, tuple(turns))
    if device.address not in other.told:
        yield from _status(device, there)
    yield from _features(device, there)
    if device.bus == "pci":
        yield from _function(device, other)


def _names(device: Device, there: SysfsDevice) -> Iterator[Contradiction]:
    for what, ours, theirs in (
        ("name", device.name, there.name),
        ("device ID", device.id, there.id),
        ("vendor ID", device.vendor, there.vendor),
    ):
        if ours is not None and theirs is not None and ours != theirs:
            message = f"its {what} is {theirs} at the end, but {ours} by the events"
            yield Contradiction(message, _REGISTERS, (device.register,))


def _status(device: Device, there: SysfsDevice) -> Iterator[Contradiction]:
    """The device itself may clear FEATURES_OK and set DEVICE_NEEDS_RESET."""
    last, status = device.status[-1] if device.status else None, there.status
    written = last.detail.status if last is not None and last.detail is not None else None
    binding = device.bindings[-1] if device.bindings else None
    if written is not None and last is not None and type(status) is int:
        own = NEEDS_RESET
        if binding is not None and (binding.negotiation.features_ok or binding.call).result:
            own |= Status.FEATURES_OK
        if (written ^ status) & ~own:
            message = f"its status is {status_words(status)} at the end, "
            message += f"but {status_words(written)} was written"
            yield Contradiction(message, _WRITES, (last.seq,))


def _features(device: Device, there: SysfsDevice) -> Iterator[Contradiction]:
    """Compare sysfs' features (struct virtio_device.features) with those negotiated."""
    binding, text = device.bindings[-1] if device.bindings else None, there.features
    if binding is None or device.bound_to is None or type(text) is not str or not text:
        return
    agreed = binding.negotiation.negotiated
    if agreed is None or set(text) - {"0", "1"} or int(text[::-1], 2) == agreed:
        return
    message = f"its features are {int(text[::-1], 2):#x} at the end, but {agreed:#x} was negotiated"
    shown = (event.seq for event in binding.negotiation.status[-1:])
    yield Contradiction(message, _WRITES, tuple(shown))


def _function(device: Device, other: _Others) -> Iterator[Contradiction]:
    """Compare the device with its PCI function in sysfs."""
    function = other.functions.get(device.address)
    if other.final.registered is None:
        return
    if function is None:
        message = "it is not among the PCI devices at the end"
    elif function.driver != VIRTIO_PCI:
        message = f"its PCI device is bound to {function.driver or 'no driver'} at the end"
    elif None not in (device.id, function.virtio_id) and device.id != function.virtio_id:
        message = f"its type is {function.virtio_id} by its PCI id, but {device.id} by the events"
    else:
        return
    yield Contradiction(message, _REGISTERS, (device.register,))


def _drivers(context: CheckContext, final: EndState) -> None:
    shown = {one.name: one for one in final.drivers}
    for name, there in shown.items():
        driver = context.graph.drivers.get(name)
        if driver is None:
            message = "the driver is registered at the end, but no event shows it"
            context.unknown(STEP, name, message)
        elif _is_open(driver.register) or not _is_settled(context, name):
            continue
        elif not _is_registered(driver):
            message = "the driver is registered at the end, but the events show that it is not"
            call = driver.unregister or driver.register or driver.early
            _write(context, name, [Contradiction(message, _DRIVERS, (call,))])
        elif (other := there.module) and _is_others(driver, other):
            message = f"the driver belongs to the module {other} at the end"
            _write(context, name, [Contradiction(message, _DRIVERS, (driver.register,))])
    for name, driver in context.graph.drivers.items():
        if not _is_registered(driver) or not _is_settled(context, name):
            continue
        if name not in shown:
            message = "the driver registered, but is not registered at the end"
            _write(context, name, [Contradiction(message, _DRIVERS, (driver.register,))])
        elif _is_unloaded(context, driver, final):
            message = "the driver registered, but its module is not loaded at the end"
            _write(context, name, [Contradiction(message, _DRIVERS, (driver.register,))])


def _is_registered(driver: Driver) -> bool:
    if driver.unregister is not None:
        return False
    return driver.in_snapshot or (driver.register is not None and driver.register.result == 0)


def _is_others(driver: Driver, module: str) -> bool:
    """Whether the evidence places DRIVER in another module than MODULE."""
    facts = driver.facts
    return facts is not None and not facts.builtin and facts.module != module


def _is_unloaded(context: CheckContext, driver: Driver, final: EndState) -> bool:
    facts, evidence = driver.facts, context.graph.recording.header.evidence
    if facts is None or facts.builtin or facts.module in evidence.builtin:
        return False
    return facts.module not in final.modules
