# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec's rules for steps 4 to 6 of VirtIO 3.1.1: feature negotiation."""

from __future__ import annotations

from virtio_trace.check.spec_findings import DeviceContext
from virtio_trace.graph.attempts import Attempt, Write
from virtio_trace.graph.calls import failure
from virtio_trace.graph.model import Device
from virtio_trace.virtio import features
from virtio_trace.virtio.numbers import F_VERSION_1, Status, bits

_RESERVED = (1 << 50) - (1 << 24)
"""Feature bits 24 to 49: reserved for queue, negotiation and transport features (2.2)."""


def features_read(context: DeviceContext, attempt: Attempt) -> None:
    """features-read: 3.1.1, step 4."""
    step = "features-read"
    beyond, bind = attempt.first_later_step, attempt.bind
    if attempt.reads:
        read = attempt.reads[0]
        if beyond is not None and beyond.event.seq < read.event.seq:
            context.wrong(
                step,
                "initialisation continued before the device's features were read",
                beyond,
                read,
            )
        elif attempt.offered is None:
            context.unknown(step, "which features the device offers was not shown", read)
        else:
            context.good(step)
    elif beyond is None:
        if bind is not None and attempt.ends and bind.result == 0:
            context.wrong(step, "a driver was bound, but the device's features were not read", bind)
    elif bind is None and attempt.known is not None:
        message = (
            "Linux does not read the features again when a device is restored: it writes the "
            "earlier ones (known deviation from 3.1.1, step 4)"
        )
        context.note(step, message, beyond)
    elif bind is None and attempt.restore is not None:
        context.unknown(step, "which features the device offers was not shown", beyond)
    elif bind is None and context.device.snapshot is not None:
        context.unknown(step, "its features may have been read before the recording began", beyond)
    else:
        context.wrong(
            step, "initialisation continued without reading the device's features", beyond
        )


def features_written(context: DeviceContext, attempt: Attempt) -> None:
    """features-written: 3.1.1, step 4; 2.2.1; 6.1."""
    step = "features-written"
    agreed = attempt.setting(Status.FEATURES_OK) or attempt.setting(Status.DRIVER_OK)
    if agreed is None:
        return
    offered, written = attempt.offered, agreed.features
    calls = (*attempt.reads[:1], agreed.call)
    if offered is None or written is None:
        context.unknown(step, "the features offered or written are unknown", *calls)
    elif written & ~offered:
        names = _features(context.device, written & ~offered)
        context.wrong(step, f"the device did not offer these features (2.2.1): {names}", *calls)
    elif offered & ~written & 1 << F_VERSION_1:
        context.wrong(step, "VIRTIO_F_VERSION_1 was offered but not accepted (6.1)", *calls)
    else:
        context.good(step)
        _written_twice(context, attempt, written)


def _written_twice(context: DeviceContext, attempt: Attempt, written: int) -> None:
    """Note device type features that the driver's validate function cleared: virtio_dev_probe
    writes what is offered and in the driver's table before it calls validate (virtio.c)."""
    binding = context.bindings.get(attempt.bind) if attempt.bind is not None else None
    if binding is None or binding.negotiation.wanted is None or attempt.offered is None:
        return
    validate = binding.negotiation.validate
    dropped = binding.negotiation.wanted & attempt.offered & ~written & ~_RESERVED
    if dropped and validate is not None and validate.result == 0:
        message = (
            "Linux writes the features, and again after the driver's validate function cleared "
            f"some: {_features(context.device, dropped)} (known deviation, before FEATURES_OK)"
        )
        context.note("features-written", message, validate)


def features_ok(context: DeviceContext, attempt: Attempt) -> None:
    """features-ok: 3.1.1, step 5; 3.1.2."""
    step = "features-ok"
    first, beyond = attempt.setting(Status.FEATURES_OK), attempt.sets_up
    if attempt.legacy:
        if first is not None:
            message = "FEATURES_OK was set for a device without VIRTIO_F_VERSION_1 (3.1.2)"
            context.wrong(step, message, first.call)
    elif first is None:
        if beyond is not None and attempt.offered is None:
            message = "whether the device is a legacy device, which has no FEATURES_OK, is unknown"
            context.unknown(step, message, beyond)
        elif beyond is not None:
            context.wrong(step, "initialisation continued without FEATURES_OK", beyond)
    elif beyond is not None and beyond.event.seq <= first.seq:
        context.wrong(step, "FEATURES_OK was set after or together with what it must precede",
                   beyond, first.call)  # fmt: skip
    else:
        _accepts_no_more(context, attempt, first)


def _accepts_no_more(context: DeviceContext, attempt: Attempt, first: Write) -> None:
    agreed = first.features
    if agreed is None:
        context.unknown("features-ok", "which features were accepted is unknown", first.call)
        return
    for write in attempt.writes:
        more = (write.features or 0) & ~agreed
        if write.seq > first.seq and more:
            names = _features(context.device, more)
            message = f"features accepted after FEATURES_OK: {names}"
            context.wrong("features-ok", message, first.call, write.call)
            return
    context.good("features-ok")


def features_accepted(context: DeviceContext, attempt: Attempt) -> None:
    """features-accepted: 3.1.1, step 6."""
    step = "features-accepted"
    first, beyond = attempt.setting(Status.FEATURES_OK), attempt.sets_up
    if first is None or attempt.legacy:
        return
    bind = attempt.bind
    bound = bind is not None and attempt.ends and bind.result == 0
    read = next((c for c in attempt.taken if c.ret is None or c.ret.seq > first.seq), None)
    if read is None:
        if beyond is not None or bound:
            context.wrong(
                step,
                "initialisation continued without reading FEATURES_OK again",
                first.call,
                beyond,
            )
    elif read.ret is None:
        context.unknown(
            step, f"{read.event.symbol} had not returned when the recording ended", read
        )
    elif read.result is None:
        context.unknown(step, f"what {read.event.symbol} returned is unknown", read)
    elif beyond is not None and (read.result != 0 or beyond.event.seq < read.ret.seq):
        refused = "although the device refused the features" if read.result else (
            "before FEATURES_OK was read again"
        )  # fmt: skip
        context.wrong(step, f"initialisation continued {refused}", read, beyond)
    else:
        context.good(step)
        if read.result:
            names = _features(context.device, first.features or 0)
            context.note(step, f"the device refused these features, as it may (2.2.2): {names}: "
                      f"{failure(read)}", first.call, read)  # fmt: skip


def _features(device: Device, value: int) -> str:
    return ", ".join(features.names(device.id, bits(value)))
