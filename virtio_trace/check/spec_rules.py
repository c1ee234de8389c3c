# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec: one function per step, each judging one attempt to initialise a device.

spec_steps.py has the section of each step; spec_feature_rules.py the rules for steps 4 to 6. The
specification requires an order, not success: an attempt that ends early is judged by what it did,
and by whether it set FAILED. A known deviation of Linux is a note, and the step has no result.
"""

from __future__ import annotations

from virtio_trace.check import spec_end_rules, spec_feature_rules
from virtio_trace.check.findings import CheckContext
from virtio_trace.check.spec_findings import DeviceContext
from virtio_trace.graph.attempts import STEP_BITS, Attempt, Write, around, split
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.virtio.numbers import Status, status_names


def device(check: CheckContext, subject: Device) -> None:
    """Judge every attempt to initialise SUBJECT, and how every failed binding ended."""
    context, attempts = DeviceContext(check, subject), split(subject)
    if not attempts:
        _nothing(context)
    elif subject.snapshot is not None and subject.snapshot.driver and attempts[0].reset:
        _nothing(context)  # the first events end what was there before
    for attempt in attempts:
        context.unsure = attempt.unsure
        if not attempt.initialises:
            if attempt.unsure is not None:
                status_kept(context, attempt)
            continue
        if attempt.partial:
            for step in context.steps:
                context.unknown(step, "the device's initialisation began before the recording")
            continue
        for rule in (reset, status_kept) if attempt.ambiguous else RULES:
            rule(context, attempt)
    for binding in subject.bindings:
        spec_end_rules.gave_up(context, binding.call, binding.negotiation.status)


def _nothing(context: DeviceContext) -> None:
    """No event shows an initialisation: it came before the recording, or there was none."""
    if context.device.snapshot is not None:
        message = "the device was initialised before the recording began"
        bound = context.device.snapshot.driver
        for step in context.steps if bound else ("reset", "acknowledge"):
            context.before(step, message)
    elif not context.proves("reset"):
        context.unknown("reset", "the recording does not show whether the device was initialised")


def reset(context: DeviceContext, attempt: Attempt) -> None:
    """reset: 3.1.1, step 1; 2.1.1."""
    step = "reset"
    if attempt.on_failed:
        message = (
            "Linux does not reset a device whose probe failed, and sets DRIVER on top of FAILED "
            "when it is bound again (known deviation from 2.1.1)"
        )
        if attempt.ambiguous:
            message += "; the steps that follow cannot be told from earlier ones"
        context.note(step, message, attempt.writes[0].call)
    elif attempt.unseen:
        context.before(step, "whether the device was reset before the recording began is unknown")
    elif attempt.reset is None:
        after = " after FAILED" if (attempt.before or 0) & Status.FAILED else ""
        message = f"initialised without a reset{after}"
        context.wrong(step, message, attempt.bind, *(w.call for w in attempt.writes[:1]))
    else:
        context.good(step)
        _apart(context, attempt, attempt.reset)


def _apart(context: DeviceContext, attempt: Attempt, first: Call) -> None:
    """Note that Linux takes steps 1 and 2 in another call than the rest, for any driver."""
    bind = attempt.bind
    if bind is None or first.inside(bind):
        return
    if around(first, "virtio_dev_remove") is not None:
        message = (
            "Linux takes steps 1 and 2 when a driver is unbound (virtio_dev_remove), so that the "
            "next binding begins with step 3 (known deviation, in order)"
        )
    else:
        message = (
            "Linux takes steps 1 and 2 when the device is registered (register_virtio_device), "
            "the others when a driver is bound (known deviation, in order)"
        )
    context.note("reset", message, first, bind)


def acknowledge(context: DeviceContext, attempt: Attempt) -> None:
    """acknowledge: 3.1.1, step 2."""
    step = "acknowledge"
    if attempt.reset is None:
        if attempt.unseen:
            context.before(
                step, "whether ACKNOWLEDGE was set before the recording began is unknown"
            )
        return
    first = attempt.setting(Status.ACKNOWLEDGE)
    later = attempt.setting(STEP_BITS)
    if first is None:
        if later is not None or attempt.bind is not None:
            calls = (later.call if later else None, attempt.bind)
            context.wrong(step, "initialised without ACKNOWLEDGE", *calls)
    elif later is not None and later.seq < first.seq:
        context.wrong(step, f"{_names(later)} was set before ACKNOWLEDGE", later.call, first.call)
    elif first.new & STEP_BITS:
        context.wrong(step, f"{_names(first)} were set together with ACKNOWLEDGE", first.call)
    else:
        context.good(step)


def driver(context: DeviceContext, attempt: Attempt) -> None:
    """driver: 3.1.1, step 3."""
    step = "driver"
    first = attempt.setting(Status.DRIVER)
    read = attempt.reads[0] if attempt.reads else None
    beyond = read or attempt.first_later_step
    bind = attempt.bind
    if first is None:
        if beyond is not None or (bind is not None and attempt.ends and bind.result == 0):
            context.wrong(step, "initialised without DRIVER", beyond or bind)
    elif first.new & (Status.FEATURES_OK | Status.DRIVER_OK):
        context.wrong(step, f"{_names(first)} were set together with DRIVER", first.call)
    elif beyond is not None and beyond.event.seq < first.seq:
        what = "the features were read" if beyond is read else "the device was set up"
        context.wrong(step, f"{what} before DRIVER was set", beyond, first.call)
    else:
        context.good(step)


def device_setup(context: DeviceContext, attempt: Attempt) -> None:
    """device-setup: 3.1.1, step 7."""
    step = "device-setup"
    last = attempt.setting(Status.DRIVER_OK)
    if last is None and not attempt.setups:
        return
    late = [call for call in attempt.setups if last is not None and call.event.seq > last.seq]
    counts = [_count(call) for call in attempt.found if call.result == 0]
    if late and last is not None:
        context.wrong(step, "a virtqueue was set up after DRIVER_OK", last.call, *late)
    elif attempt.setups or (counts and not any(counts)):
        context.good(step)
    elif counts and last is not None:
        message = "virtqueues were requested, but none was set up before DRIVER_OK"
        context.wrong(step, message, *attempt.found, last.call)
    elif last is not None:
        message = (
            "no virtqueue was set up; whether the device has any (2.6: zero or more) is unknown"
        )
        context.unknown(step, message, last.call)


def driver_ok(context: DeviceContext, attempt: Attempt) -> None:
    """driver-ok: 3.1.1, step 8. Reading the features again is not a step. The specification only
    forbids accepting new ones after FEATURES_OK (step 5): "the only way to renegotiate is to reset
    the device" (2.2)."""
    step = "driver-ok"
    last, outer = attempt.setting(Status.DRIVER_OK), attempt.outer
    if last is None:
        if outer is None or not attempt.ends:
            return
        if outer.ret is None:
            message = f"{outer.event.symbol} had not returned when the recording ended"
            context.unknown(step, message, outer)
        elif outer.result == 0:
            context.wrong(step, f"{outer.event.symbol} succeeded without DRIVER_OK", outer)
        return
    after = [w.call for w in attempt.writes if w.seq > last.seq and w.new & (STEP_BITS | 1)]
    if after:
        context.wrong(step, "DRIVER_OK was not the last step", last.call, *after)
    else:
        context.good(step)


def status_kept(context: DeviceContext, attempt: Attempt) -> None:
    """status-kept: 2.1.1. If the device refused FEATURES_OK, the driver did not clear it.
    DEVICE_NEEDS_RESET is set by the device."""
    step = "status-kept"
    if attempt.unsure is not None:
        context.unknown(step, "the status that was written is unknown", attempt.unsure)
        return
    if not attempt.writes:
        return
    for write in attempt.writes:
        cleared = (write.before or 0) & ~write.value & ~_DEVICES_OWN
        if cleared & Status.FEATURES_OK and attempt.refused():
            cleared &= ~Status.FEATURES_OK.value
        if cleared:
            names = ", ".join(status_names(cleared))
            context.wrong(step, f"cleared without a reset: {names}", write.call)
            return
    context.good(step)


def failed(context: DeviceContext, attempt: Attempt) -> None:
    """failed: 3.1.1, below the steps: initialisation must not continue after FAILED."""
    given_up = next((write for write in attempt.writes if write.new & Status.FAILED), None)
    if given_up is None:
        return
    after = [
        w.call for w in attempt.writes if w.seq > given_up.seq and w.new & ~Status.FAILED.value
    ]
    after += [c for c in (*attempt.setups, *attempt.reads) if c.event.seq > given_up.seq]
    if not after:
        return
    if attempt.bind is None:
        message = (
            "Linux sets FAILED again when it restores a device that had it, and continues "
            "(known deviation from 3.1.1)"
        )
        context.note("failed", message, given_up.call, *after)
    else:
        context.wrong("failed", "initialisation continued after FAILED", given_up.call, *after)


RULES = (
    reset,
    acknowledge,
    driver,
    spec_feature_rules.features_read,
    spec_feature_rules.features_written,
    spec_feature_rules.features_ok,
    spec_feature_rules.features_accepted,
    device_setup,
    driver_ok,
    status_kept,
    failed,
)

_DEVICES_OWN = 64
"""DEVICE_NEEDS_RESET (2.1)."""


def _count(call: Call) -> int:
    """The number of virtqueues requested, or 1 if that is unknown."""
    detail = call.event.detail
    return 1 if detail is None or detail.count is None else detail.count


def _names(write: Write) -> str:
    return ", ".join(status_names(write.new & ~Status.ACKNOWLEDGE.value)) or "nothing"
