# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of a device that no driver has at the recording's end, and why that is so.

An error where a driver in this kernel's files matches the device, a warning where none does.
"""

from __future__ import annotations

from virtio_trace import virtio
from virtio_trace.evidence import DriverFacts
from virtio_trace.findings import WARNING, Sheet
from virtio_trace.model import Device
from virtio_trace.virtio import EPROBE_DEFER

_STEP = "pair-matched"


def device(sheet: Sheet, subject: Device) -> None:
    """Judge SUBJECT's end; a binding that failed was judged already."""
    if subject.bindings:
        _released(sheet, subject)
    elif subject.snapshot is not None and subject.snapshot.get("driver"):
        message = f"bound to {subject.snapshot['driver']} before the recording began"
        sheet.unknown(_STEP, subject.address, message)
    else:
        _never_bound(sheet, subject)


def _released(sheet: Sheet, subject: Device) -> None:
    """It was bound once, or deferred, and is there without a driver."""
    last = subject.bindings[-1]
    if subject.unregister is not None:
        return
    if last.unbound is not None:
        message = f"unbound at the end: {last.unbound.event.symbol} took {last.driver} from it"
        sheet.missing(_STEP, subject.address, message, last.call, last.unbound)
    elif last.call.result == -EPROBE_DEFER:
        message = f"unbound at the end: the probe of {last.driver} is still deferred"
        sheet.missing("bus-probed", subject.address, message, last.call)


def _never_bound(sheet: Sheet, subject: Device) -> None:
    expected = sheet.graph.expected_drivers(subject)
    for facts in expected:
        _passed_over(sheet, subject, facts)
    if expected:
        return
    evidence = sheet.graph.recording.header.evidence
    refused = {call.event.driver for call in subject.matches if call.result == 0}
    unread = [d.name for d in sheet.graph.drivers.values() if not d.facts and d.name not in refused]
    if unread:
        names = ", ".join(sorted(unread))
        message = f"not bound; whether {names} should have it is unknown: their files are"
        sheet.unknown(_STEP, subject.address, message, subject.register)
    elif evidence.unread:
        message = "not bound; whether a driver in a file that could not be read has it is unknown"
        sheet.unknown(_STEP, subject.address, message, subject.register)
    else:
        kind = virtio.device_type(subject.id)
        message = f"no driver in this kernel for this device (type {kind})"
        sheet.finding(WARNING, _STEP, subject.address, message, subject.register)


def _passed_over(sheet: Sheet, subject: Device, facts: DriverFacts) -> None:
    """FACTS' id_table has the device: where did it end?"""
    address = subject.address
    known = sheet.graph.drivers.get(facts.name)
    scans = [call for call in subject.matches if call.event.driver == facts.name]
    if known is None:
        if subject.unregister is None:  # one that is gone again may not have waited for its driver
            message = f"not bound: {facts.module} has a driver for it, which was never registered"
            sheet.missing(_STEP, address, message, subject.register)
    elif not scans and known.in_snapshot and subject.snapshot is not None:
        message = f"not bound, although {facts.name}, whose id_table has the device, was there"
        sheet.missing(_STEP, address, message)
    elif not scans:
        message = f"the bus was not scanned for {facts.name}, whose id_table has the device"
        sheet.missing(_STEP, address, message, subject.register, known.register)
    elif all(call.result == 0 for call in scans):
        message = f"{facts.name}'s id_table has the device, but the bus did not match them"
        sheet.bad(_STEP, address, message, *scans)
    elif any(call.result is None for call in scans):
        sheet.unfinished(_STEP, address, scans[-1])
    elif any((call.result or 0) > 0 for call in scans):  # an error was said where it was returned
        message = f"the bus matched {facts.name}, but did not call virtio_dev_probe"
        sheet.missing("bus-probed", address, message, *scans)
