# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of profile spec, one function a step, each on one attempt to initialise a device.

A step's section is in spec.py; the rules of the steps 4 to 6 are in spec_features.py. The
specification demands an order, not success: an attempt that ends early is judged by what was done
in it, and by the FAILED at its end. Where Linux is known to do otherwise, the finding is a note,
and the step has no result.
"""

from __future__ import annotations

from virtio_trace.check import spec_feature_rules
from virtio_trace.check.findings import WARNING, Sheet
from virtio_trace.check.spec_findings import Page
from virtio_trace.graph.attempts import FAILED, STEP_BITS, Attempt, Write, around, split
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Binding, Device
from virtio_trace.graph.negotiation import ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK
from virtio_trace.virtio.numbers import status_names


def device(sheet: Sheet, subject: Device) -> None:
    """Judge every attempt to initialise SUBJECT, and the end of every binding that failed."""
    page, attempts = Page(sheet, subject), split(subject)
    if not attempts:
        _nothing(page)
    for attempt in attempts:
        if not attempt.initialises:
            continue
        if attempt.partial:
            for step in page.steps:
                page.unknown(step, "the device's initialisation began before the recording")
            continue
        for rule in (reset, status_kept) if attempt.blurred else RULES:
            rule(page, attempt)
    for binding in subject.bindings:
        _gave_up(page, binding)


def _nothing(page: Page) -> None:
    """No event shows any of it: it was before the recording, or nothing initialised it."""
    if page.device.snapshot is not None:
        message = "the device was initialised before the recording began"
        bound = page.device.snapshot.get("driver")
        for step in page.steps if bound else ("reset", "acknowledge"):
            page.unknown(step, message)
    elif not page.proves("reset"):
        page.unknown("reset", "whether the device was initialised is not in the recording")


def reset(page: Page, attempt: Attempt) -> None:
    """reset: 3.1.1, step 1; 2.1.1."""
    step = "reset"
    if attempt.on_failed:
        message = (
            "Linux does not reset a device whose probe failed, and sets DRIVER on top of FAILED "
            "when it is bound anew (known deviation from 2.1.1)"
        )
        if attempt.blurred:
            message += "; the steps that follow cannot be told from those of before"
        page.note(step, message, attempt.writes[0].call)
    elif attempt.unseen:
        page.unknown(step, "whether the device was reset before the recording began is unknown")
    elif attempt.reset is None:
        after = " after FAILED" if (attempt.before or 0) & FAILED else ""
        message = f"initialised without a reset{after}"
        page.wrong(step, message, attempt.bind, *(w.call for w in attempt.writes[:1]))
    else:
        page.good(step)
        _apart(page, attempt, attempt.reset)


def _apart(page: Page, attempt: Attempt, first: Call) -> None:
    """Linux takes the steps 1 and 2 for any driver, in another call than the rest."""
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
    page.note("reset", message, first, bind)


def acknowledge(page: Page, attempt: Attempt) -> None:
    """acknowledge: 3.1.1, step 2."""
    step = "acknowledge"
    if attempt.reset is None:
        if attempt.unseen:
            page.unknown(step, "whether ACKNOWLEDGE was set before the recording began is unknown")
        return
    first = attempt.setting(ACKNOWLEDGE)
    later = attempt.setting(STEP_BITS)
    if first is None:
        if later is not None or attempt.bind is not None:
            calls = (later.call if later else None, attempt.bind)
            page.wrong(step, "initialised without ACKNOWLEDGE", *calls)
    elif later is not None and later.seq < first.seq:
        page.wrong(step, f"{_names(later)} was set before ACKNOWLEDGE", later.call, first.call)
    elif first.new & STEP_BITS:
        page.wrong(step, f"{_names(first)} were set at once with ACKNOWLEDGE", first.call)
    else:
        page.good(step)


def driver(page: Page, attempt: Attempt) -> None:
    """driver: 3.1.1, step 3."""
    step = "driver"
    first = attempt.setting(DRIVER)
    read = attempt.reads[0] if attempt.reads else None
    beyond = read or attempt.goes_on
    bind = attempt.bind
    if first is None:
        if beyond is not None or (bind is not None and attempt.ends and bind.result == 0):
            page.wrong(step, "initialised without DRIVER", beyond or bind)
    elif first.new & (FEATURES_OK | DRIVER_OK):
        page.wrong(step, f"{_names(first)} were set at once with DRIVER", first.call)
    elif beyond is not None and beyond.event.seq < first.seq:
        what = "the features were read" if beyond is read else "the device was set up"
        page.wrong(step, f"{what} before DRIVER was set", beyond, first.call)
    else:
        page.good(step)


def device_setup(page: Page, attempt: Attempt) -> None:
    """device-setup: 3.1.1, step 7."""
    step = "device-setup"
    last = attempt.setting(DRIVER_OK)
    if last is None and not attempt.setups:
        return
    late = [call for call in attempt.setups if last is not None and call.event.seq > last.seq]
    counts = [_count(call) for call in attempt.found if call.result == 0]
    if late and last is not None:
        page.wrong(step, "a virtqueue was set up after DRIVER_OK", last.call, *late)
    elif attempt.setups or (counts and not any(counts)):
        page.good(step)
    elif counts and last is not None:
        message = "virtqueues were asked for, and none was set up before DRIVER_OK"
        page.wrong(step, message, *attempt.found, last.call)
    elif last is not None:
        message = (
            "no virtqueue was set up; whether the device has any (2.6: zero or more) is unknown"
        )
        page.unknown(step, message, last.call)


def driver_ok(page: Page, attempt: Attempt) -> None:
    """driver-ok: 3.1.1, step 8."""
    step = "driver-ok"
    last, outer = attempt.setting(DRIVER_OK), attempt.outer
    if last is None:
        if outer is None or not attempt.ends:
            return
        if outer.ret is None:
            message = f"{outer.event.symbol} had not returned when the recording ended"
            page.unknown(step, message, outer)
        elif outer.result == 0:
            page.wrong(step, f"{outer.event.symbol} succeeded without DRIVER_OK", outer)
        return
    after = [w.call for w in attempt.writes if w.seq > last.seq and w.new & (STEP_BITS | 1)]
    after += [call for call in attempt.reads if call.event.seq > last.seq]
    if after:
        page.wrong(step, "DRIVER_OK was not the last step", last.call, *after)
    else:
        page.good(step)


def status_kept(page: Page, attempt: Attempt) -> None:
    """status-kept: 2.1.1. FEATURES_OK that the device refused was not cleared by the driver, and
    DEVICE_NEEDS_RESET is the device's to set."""
    step = "status-kept"
    if not attempt.writes:
        return
    for write in attempt.writes:
        cleared = (write.before or 0) & ~write.value & ~_DEVICES_OWN
        if cleared & FEATURES_OK and attempt.refused():
            cleared &= ~FEATURES_OK
        if cleared:
            names = ", ".join(status_names(cleared))
            page.wrong(step, f"cleared without a reset: {names}", write.call)
            return
    page.good(step)


def failed(page: Page, attempt: Attempt) -> None:
    """failed: 3.1.1, below the steps: nothing goes on after FAILED."""
    given_up = next((write for write in attempt.writes if write.new & FAILED), None)
    if given_up is None:
        return
    after = [w.call for w in attempt.writes if w.seq > given_up.seq and w.new & ~FAILED]
    after += [c for c in (*attempt.setups, *attempt.reads) if c.event.seq > given_up.seq]
    if not after:
        return
    if attempt.bind is None:
        message = (
            "Linux sets FAILED again when it restores a device that had it, and goes on "
            "(known deviation from 3.1.1)"
        )
        page.note("failed", message, given_up.call, *after)
    else:
        page.wrong("failed", "initialisation went on after FAILED", given_up.call, *after)


def _gave_up(page: Page, binding: Binding) -> None:
    """failed: 3.1.1, below the steps: a driver that gives up SHOULD say so."""
    call, step = binding.call, "failed"
    if (call.result or 0) >= 0:
        return
    writes = [event for event in binding.negotiation.status if event.detail is not None]
    if any((event.detail.status or 0) & FAILED for event in writes if event.detail):
        page.good(step)
    elif call.entry is not None and page.proves(step):
        message = f"{failure(call)}, and FAILED was not set (3.1.1: SHOULD)"
        page.sheet.finding(WARNING, step, page.device.address, message, call)
    else:
        page.unknown(step, f"{failure(call)}; whether FAILED was set is not known", call)


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
    """How many virtqueues were asked for; one at least where that is unknown."""
    detail = call.event.detail
    return 1 if detail is None or detail.count is None else detail.count


def _names(write: Write) -> str:
    return ", ".join(status_names(write.new & ~ACKNOWLEDGE)) or "nothing"
