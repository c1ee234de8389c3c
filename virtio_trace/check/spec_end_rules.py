# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec's rules for the end of an initialisation: what the call returned, and what sysfs
shows at the end of the recording.

"The driver MUST update device status, setting bits to indicate the completed steps" (2.1.1): a call
that succeeded must have set DRIVER_OK, and one that failed must not leave it set.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from virtio_trace.check.findings import WARNING, CheckContext
from virtio_trace.check.spec_findings import DeviceContext
from virtio_trace.graph.attempts import status_of
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Device
from virtio_trace.recording.events import Event
from virtio_trace.virtio.numbers import Status

_WRITES = ("set_status", "reset")


def outcomes(context: CheckContext, device: Device) -> None:
    """Check every binding of DEVICE."""
    page = DeviceContext(context, device)
    for binding in device.bindings:
        _outcome(page, binding.call)


def restored(context: CheckContext, device: Device, call: Call) -> None:
    """Check a restoration of DEVICE by CALL."""
    page = DeviceContext(context, device)
    _outcome(page, call)
    gave_up(page, call, [write.event for write in _writes(device, call)])


def gave_up(context: DeviceContext, call: Call, writes: list[Event]) -> None:
    """failed: 3.1.1, below the steps: a driver that gives up SHOULD set FAILED. WRITES are the
    status writes in CALL."""
    step = "failed"
    if (call.result or 0) >= 0:
        return
    values = [event.detail.status if event.detail is not None else None for event in writes]
    context.unsure = call if None in values else None
    if any((value or 0) & Status.FAILED for value in values):
        context.good(step)
    elif call.entry is not None and context.proves(step):
        message = f"{failure(call)}, but FAILED was not set (3.1.1: SHOULD)"
        context.check.finding(WARNING, step, context.device.address, message, call)
    else:
        context.unknown(step, f"{failure(call)}; whether FAILED was set is unknown", call)


def _writes(device: Device, outer: Call) -> list[Call]:
    """The writes to DEVICE's status in OUTER."""
    if outer.entry is None:
        return []
    trail = device.init_calls
    first = bisect_left(trail, outer.entry.seq, key=_seq)
    last = len(trail) if outer.ret is None else bisect_right(trail, outer.ret.seq, key=_seq)
    inside = (call for call in trail[first:last] if call.inside(outer))
    return [call for call in inside if call.event.probe in _WRITES]


def _seq(call: Call) -> int:
    return call.event.seq


def _outcome(page: DeviceContext, outer: Call) -> None:
    """driver-ok and failed: the status must agree with the result of OUTER."""
    if outer.result is None or outer.entry is None:
        return
    writes, name = _writes(page.device, outer), outer.event.symbol
    values = [status_of(call) for call in writes]
    if None in values:
        return  # status-kept reports it
    known = [value for value in values if value is not None]
    if outer.result != 0:
        if known and known[-1] & Status.DRIVER_OK and not known[-1] & Status.FAILED:
            message = (
                f"{failure(outer)}, but the status says that the driver is ready (2.1): after "
                "DRIVER_OK, FAILED was not set and the device was not reset"
            )
            page.wrong("driver-ok", message, writes[-1], outer)
    elif not known:
        page.wrong("driver-ok", f"{name} succeeded, but wrote no status", outer)
    elif known[-1] == 0:
        page.wrong("driver-ok", f"{name} succeeded, but reset the device last", writes[-1], outer)
    else:
        begun = next((value for value in known if value & Status.DRIVER), 0)
        if known[-1] & Status.FAILED and not begun & Status.FAILED:
            page.wrong("failed", f"{name} succeeded, but FAILED was set", writes[-1], outer)


def end(context: CheckContext) -> None:
    """What only sysfs shows was initialised without being recorded."""
    trailer = context.graph.recording.trailer
    if trailer is None or trailer.end_state is None or context.running:
        return
    latest = context.graph.latest
    for there in trailer.end_state.devices:
        address, driver = there.address, there.driver
        device = latest.get(address)
        if device is None or device.unregister is not None:
            message = (
                "it is on the VirtIO bus at the end, but no event shows how it was initialised"
            )
            context.unknown("reset", address, message)
        elif driver is not None and driver != device.bound_to:
            message = f"bound to {driver} at the end, but no event shows how it was initialised"
            context.unknown("driver-ok", address, message)
        else:
            _agreed(context, device, there.features)


def _agreed(context: CheckContext, device: Device, text: object) -> None:
    binding = device.bindings[-1] if device.bindings else None
    if binding is None or device.bound_to is None or type(text) is not str or not text:
        return
    agreed = binding.negotiation.negotiated
    if agreed is not None and not set(text) - {"0", "1"} and int(text[::-1], 2) != agreed:
        message = f"{agreed:#x} was negotiated, but sysfs has {int(text[::-1], 2):#x} at the end"
        events = [event.seq for event in binding.negotiation.status[-1:]]
        context.unknown("features-written", device.address, message, *events)
