# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's side of each device against the host's own view: status, features, virtqueues.

A contradiction is an error only where both sides are proven: what the guest did was seen whole, and
QEMU names what it has. A recording without the host's view has no such steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from virtio_trace.check.findings import NOTE, WARNING, CheckContext
from virtio_trace.check.proof import Proof
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Binding, Device
from virtio_trace.recording.bus_state import SysfsDevice
from virtio_trace.recording.events import Event
from virtio_trace.recording.host_view import HostDevice
from virtio_trace.virtio import features, numbers
from virtio_trace.virtio.numbers import Status

STATUS, FEATURES, QUEUES = "host-status", "host-features", "host-queues"
"""Steps of procedure.HOST_STEPS."""

NEEDS_RESET = 64
"""DEVICE_NEEDS_RESET, which the device sets itself (VirtIO 2.1.2)."""

_RING_RESET = "VIRTIO_F_RING_RESET"
_LEGACY_BAD_FEATURE = 1 << 30
"""VIRTIO_F_BAD_FEATURE: not a feature (QEMU: hw/virtio/virtio-pci.c), and vhost-user's own bit."""


@dataclass(frozen=True, slots=True)
class HostComparison:
    """One aspect of one device: ``ok`` is None where the two differ and that is no proof;
    ``message`` says how, and ``events`` show the guest's side."""

    step: str
    ok: bool | None
    message: str = ""
    events: tuple[Call | int, ...] = ()


def check(context: CheckContext) -> None:
    """Every device of the guest that the host knows; then those that are on one side alone."""
    trailer = context.graph.recording.trailer
    view = trailer.host if trailer else None
    if trailer is None or view is None:
        return
    there = {device.address for device in context.graph.devices if device.unregister is None}
    for device, host in pairs(context):
        for compared in compare(context, device, host):
            _write(context, device.address, compared)
    for host in view.devices or ():
        if host.address is None or (host.bus != "pci" and host.address not in there):
            message = f"{view.model}'s device {host.path} cannot be told among the guest's"
            context.finding(NOTE, STATUS, host.address or host.path, message)
        elif host.address not in there and trailer.end_state is not None:
            message = f"{view.model} has the device {host.path}, the guest shows none there"
            context.finding(WARNING, STATUS, host.address, message)


def pairs(proof: Proof) -> Iterator[tuple[Device, HostDevice]]:
    """Each device that is there at the end, with the host's own view of it."""
    trailer = proof.graph.recording.trailer
    view = trailer.host if trailer else None
    latest = {device.address: device for device in proof.graph.devices}
    for device in latest.values():
        host = view.at(device.address) if view else None
        if host is not None and device.unregister is None:
            yield device, host


def compare(proof: Proof, device: Device, host: HostDevice) -> Iterator[HostComparison]:
    """Each aspect that is known on both sides."""
    status = _status(proof, device, host)
    if status is None:
        return
    yield status
    running = (host.status_value or 0) & Status.DRIVER_OK
    driver = _driver(proof, device)
    if not (running and driver) or status.ok is False:
        return
    last = device.bindings[-1] if device.bindings else None
    binding = last if last and last.call.result == 0 and not last.unbound else None
    guest = _negotiated(proof, device, binding)
    if guest is not None:
        yield _features(device, host, guest, binding)
    if binding is not None and proof.sees(QUEUES):
        yield from _queues(device, host, guest or 0, binding)


def _write(context: CheckContext, address: str, compared: HostComparison) -> None:
    if compared.ok:
        context.good(compared.step, address)
    elif compared.ok is None:
        context.unknown(compared.step, address, compared.message, *compared.events)
    else:
        context.bad(compared.step, address, compared.message, *compared.events)


def _status(proof: Proof, device: Device, host: HostDevice) -> HostComparison | None:
    """What is bound runs, what is not does not, and the last write is what the device has."""
    value = host.status_value
    if value is None or proof.running:  # between two writes the two may differ
        return None
    words = status_words(value)
    final = _final(proof, device)
    last = device.status[-1] if device.status else None
    shown = (last.seq,) if last else ()
    if value & NEEDS_RESET:
        message = f"QEMU's device wants to be reset: its status is {words}"
        return HostComparison(STATUS, False, message, shown)
    if final is not None or proof.sees("bus-probed"):
        driver = _driver(proof, device)
        if driver is not None and not value & Status.DRIVER_OK:
            message = f"{driver} has the device, but in QEMU it does not run: its status is {words}"
            return HostComparison(STATUS, False, message, shown)
        if driver is None and value & Status.DRIVER_OK:
            message = f"no driver has the device, but in QEMU it runs: its status is {words}"
            return HostComparison(STATUS, False, message, shown)
    written = _value(last) if proof.sees(STATUS) else None
    if written is not None and written != value:
        message = f"the guest's last status was {status_words(written)}, QEMU has {words}"
        return HostComparison(STATUS, False, message, shown)
    if written is None and final is None:
        return None
    return HostComparison(STATUS, True)


def _value(event: Event | None) -> int | None:
    return event.detail.status if event is not None and event.detail else None


def _features(
    device: Device, host: HostDevice, guest: int, binding: Binding | None
) -> HostComparison:
    """Those agreed on; a name of QEMU's that is not known here may be any bit that it lacks."""
    theirs, strange = host.features()
    theirs &= ~_LEGACY_BAD_FEATURE
    more = theirs & ~guest
    less = 0 if strange else guest & ~theirs
    said = []
    if more:
        said.append(f"QEMU has {_names(device, more)}, which the guest did not agree on")
    if less:
        said.append(f"the guest agreed on {_names(device, less)}, which QEMU does not have")
    events = tuple(e.seq for e in binding.negotiation.status[-1:]) if binding else ()
    return HostComparison(FEATURES, not said, "; ".join(said), events)


def _queues(
    device: Device, host: HostDevice, guest: int, binding: Binding
) -> Iterator[HostComparison]:
    """Sizes by index. A virtqueue may be reset and resized later, by functions without a probe
    point, where VIRTIO_F_RING_RESET was agreed on: then a difference is no proof."""
    found = binding.negotiation
    ours = {queue.index: queue.size for queue in found.queues() or ()}
    unshown = None in ours.values() or not all(map(_has_index, found.setups))
    ours = {index: size for index, size in ours.items() if size is not None}
    if not ours:  # no probe point on this transport
        return
    theirs = host.sizes
    said = [
        f"virtqueue {index} was set up with {ours.get(index) or 'no'} descriptors, "
        f"in QEMU it has {theirs.get(index) or 'none'}"
        for index in sorted(ours.keys() | theirs.keys())
        if ours.get(index) != theirs.get(index)
    ]
    message = "; ".join(said)
    if not said:
        yield HostComparison(QUEUES, True)
        return
    may = _RING_RESET in features.names(device.id, numbers.bits(guest))
    if may:
        message += f"; it may have been resized since ({_RING_RESET}), which is not seen"
    if unshown:
        message += "; what was set up could not all be read"
    yield HostComparison(QUEUES, None if may or unshown else False, message, tuple(found.setups))


def _has_index(call: Call) -> bool:
    details = (event.detail for event in (call.entry, call.ret) if event is not None)
    return any(detail is not None and detail.queue is not None for detail in details)


def _negotiated(proof: Proof, device: Device, binding: Binding | None) -> int | None:
    """By the last binding where it was seen whole, else by sysfs at the end."""
    if binding is not None and proof.sees(FEATURES) and binding.negotiation.negotiated is not None:
        return binding.negotiation.negotiated
    end = _final(proof, device)
    text = end.features if end is not None else None
    if text is None or set(text) - {"0", "1"}:
        return None
    return int(text[::-1] or "0", 2)


def _driver(proof: Proof, device: Device) -> str | None:
    final = _final(proof, device)
    return device.bound_to if final is None else final.driver


def _final(proof: Proof, device: Device) -> SysfsDevice | None:
    """The device as the guest's own sysfs showed it at the recording's end."""
    trailer = proof.graph.recording.trailer
    devices = trailer.end_state.devices if trailer and trailer.end_state else ()
    return next((one for one in devices if one.address == device.address), None)


def status_words(value: int) -> str:
    """``0x0f (ACKNOWLEDGE, DRIVER, ...)``, ``0x00 (reset)``."""
    return f"0x{value:02x} ({', '.join(numbers.status_names(value)) or 'reset'})"


def _names(device: Device, bits: int) -> str:
    return ", ".join(features.names(device.id, numbers.bits(bits)))
