# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's view of each device against the host's: status, features, virtqueues.

A contradiction is an error only if both sides are proven: the guest's events are complete, and QEMU
reports its side. A recording without the host's view has none of these steps.
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
from virtio_trace.recording.host_view import HostDevice, HostIndex
from virtio_trace.virtio import features, numbers
from virtio_trace.virtio.numbers import Status

STATUS, FEATURES, QUEUES = "host-status", "host-features", "host-queues"
"""The steps in linux_steps.HOST_STEPS."""

NEEDS_RESET = 64
"""DEVICE_NEEDS_RESET, which the device itself sets (VirtIO 2.1.2)."""

_RING_RESET = "VIRTIO_F_RING_RESET"
_LEGACY_BAD_FEATURE = 1 << 30
"""VIRTIO_F_BAD_FEATURE: not a feature (QEMU: hw/virtio/virtio-pci.c), and used by vhost-user."""


@dataclass(frozen=True, slots=True)
class HostComparison:
    """The comparison of one aspect of a device. ``ok`` is None if the sides differ without proof of
    an error; ``message`` says how they differ, and ``events`` show the guest's side."""

    step: str
    ok: bool | None
    message: str = ""
    events: tuple[Call | int, ...] = ()


def check(context: CheckContext) -> None:
    """Compare each device that both sides have; then report those that only the host has."""
    trailer = context.graph.recording.trailer
    view = trailer.host if trailer else None
    if trailer is None or view is None:
        return
    placed = set()
    for device, host in pairs(context):
        placed.add(host.path)
        for compared in compare(context, device, host):
            _write(context, device.address, compared)
    are_placed = _are_placed(context)
    for host in view.devices or ():
        if host.path in placed:
            continue
        if host.address is None or (host.bus != "pci" and not are_placed):
            message = f"{view.model}'s device {host.path} cannot be identified in the guest"
            context.finding(NOTE, STATUS, host.address or host.path, message)
            context.unplaced += 1
        elif trailer.end_state is not None:
            message = f"{view.model} has the device {host.path}, but the guest shows none there"
            context.finding(WARNING, STATUS, host.address, message)


def _are_placed(proof: Proof) -> bool:
    """Whether it is known where each virtio-mmio device of the guest has its registers."""
    end = proof.graph.recording.trailer
    state = end.end_state if end else None
    mmio = [device for device in (state.devices if state else ()) if device.bus == "platform"]
    return state is not None and all(device.mmio_base is not None for device in mmio)


def pairs(proof: Proof) -> Iterator[tuple[Device, HostDevice]]:
    """Each device that exists at the end, with the host's view of it."""
    trailer = proof.graph.recording.trailer
    view = trailer.host if trailer else None
    known = HostIndex(view.devices or ()) if view else None
    for device in proof.graph.latest.values():
        host = known.at(device.address, _base(proof, device)) if known else None
        if host is not None and device.unregister is None:
            yield device, host


def _base(proof: Proof, device: Device) -> int | None:
    """Where a virtio-mmio device has its registers, by sysfs at the end or at the beginning."""
    shown = _final(proof, device) or device.snapshot
    return None if shown is None else shown.mmio_base


def compare(proof: Proof, device: Device, host: HostDevice) -> Iterator[HostComparison]:
    """Compare each aspect that both sides know."""
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
    """A bound device must have DRIVER_OK, an unbound one must not; its status must be the last
    one written."""
    value = host.status_value
    if value is None or proof.running:  # between two writes the sides may differ
        return None
    words = status_words(value)
    final = _final(proof, device)
    last = device.status[-1] if device.status else None
    shown = (last.seq,) if last else ()
    if value & NEEDS_RESET:
        message = f"QEMU's device asks to be reset: its status is {words}"
        return HostComparison(STATUS, False, message, shown)
    if final is not None or proof.sees("bus-probed"):
        driver = _driver(proof, device)
        if driver is not None and not value & Status.DRIVER_OK:
            message = (
                f"{driver} has the device, but it has no DRIVER_OK in QEMU: its status is {words}"
            )
            return HostComparison(STATUS, False, message, shown)
        if driver is None and value & Status.DRIVER_OK:
            message = (
                f"no driver has the device, but it has DRIVER_OK in QEMU: its status is {words}"
            )
            return HostComparison(STATUS, False, message, shown)
    written = _value(last) if proof.sees(STATUS) else None
    if written is not None and written != value:
        message = f"the guest last wrote the status {status_words(written)}, but QEMU has {words}"
        return HostComparison(STATUS, False, message, shown)
    if written is None and final is None:
        return None
    return HostComparison(STATUS, True)


def _value(event: Event | None) -> int | None:
    return event.detail.status if event is not None and event.detail else None


def _features(
    device: Device, host: HostDevice, guest: int, binding: Binding | None
) -> HostComparison:
    """Compare the negotiated features. An unknown feature name from QEMU may be any missing bit."""
    theirs, strange = host.features()
    theirs &= ~_LEGACY_BAD_FEATURE
    more = theirs & ~guest
    less = 0 if strange else guest & ~theirs
    said = []
    if more:
        said.append(f"QEMU has {_names(device, more)}, which the guest did not negotiate")
    if less:
        said.append(f"the guest negotiated {_names(device, less)}, which QEMU does not have")
    events = tuple(e.seq for e in binding.negotiation.status[-1:]) if binding else ()
    return HostComparison(FEATURES, not said, "; ".join(said), events)


def _queues(
    device: Device, host: HostDevice, guest: int, binding: Binding
) -> Iterator[HostComparison]:
    """Compare the sizes by index. With VIRTIO_F_RING_RESET, a virtqueue may later be reset and
    resized by functions that have no probe point: a difference is then no proof."""
    found = binding.negotiation
    ours = {queue.index: queue.size for queue in found.queues() or ()}
    unshown = None in ours.values() or not all(map(_has_index, found.setups))
    ours = {index: size for index, size in ours.items() if size is not None}
    if not ours:  # no probe point on this transport
        return
    theirs = host.sizes
    said = [
        f"virtqueue {index} was set up with {ours.get(index) or 'no'} descriptors, "
        f"but has {theirs.get(index) or 'none'} in QEMU"
        for index in sorted(ours.keys() | theirs.keys())
        if ours.get(index) != theirs.get(index)
    ]
    message = "; ".join(said)
    if not said:
        yield HostComparison(QUEUES, True)
        return
    may = _RING_RESET in features.names(device.id, numbers.bits(guest))
    if may:
        message += f"; it may have been resized since ({_RING_RESET}), which is not recorded"
    if unshown:
        message += "; not all of the setup could be read"
    yield HostComparison(QUEUES, None if may or unshown else False, message, tuple(found.setups))


def _has_index(call: Call) -> bool:
    details = (event.detail for event in (call.entry, call.ret) if event is not None)
    return any(detail is not None and detail.queue is not None for detail in details)


def _negotiated(proof: Proof, device: Device, binding: Binding | None) -> int | None:
    """From the last binding if it was completely recorded, otherwise from sysfs at the end."""
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
    """The device in the guest's sysfs at the end of the recording."""
    return proof.at_end.get(device.address)


def status_words(value: int) -> str:
    """``0x0f (ACKNOWLEDGE, DRIVER, ...)``, ``0x00 (reset)``."""
    return f"0x{value:02x} ({', '.join(numbers.status_names(value)) or 'reset'})"


def _names(device: Device, bits: int) -> str:
    return ", ".join(features.names(device.id, numbers.bits(bits)))
