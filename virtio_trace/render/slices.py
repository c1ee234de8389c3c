# SPDX-License-Identifier: GPL-2.0-or-later
"""The name and the arguments of a call in a timeline."""

from __future__ import annotations

from typing import Any

from virtio_trace.graph.calls import Call
from virtio_trace.graph.negotiation import NO_VECTOR
from virtio_trace.graph.timeline import Span
from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.virtio import features, numbers


def name(event: Event) -> str:
    """The function; for a status write the status, as the function is always the same."""
    if event.kind == ev.MODULE:
        return f"load module {event.module}"
    if event.detail is not None and event.detail.status is not None:
        return f"status {_bits(event.detail.status)}"
    if event.probe == "driver_features":  # its function is virtio_dev_probe, a call of its own
        return "driver_features"
    return event.function or str(event.probe)


def _bits(status: int) -> str:
    return " ".join(numbers.status_names(status)) or "reset"


def arguments(span: Span, device: int | None) -> dict[str, Any]:
    """The call's arguments; unknown ones are None. DEVICE (a type) names the feature bits."""
    call, event = span.call, span.call.event
    ref = event.device
    return {
        "events": sorted(set(call.seqs)),
        "result": call.result,
        "errno": numbers.errno_name(call.result),
        "open": True if span.open else None,
        "duration_ns": call.duration_ns,
        "device": ref.address if ref else None,
        "driver": event.driver,
        "module": event.module,
        "function": event.function,
        "thread": f"{event.comm}/{event.tid}",
        "cpu": event.cpu,
        **_detail(call, device if device is not None else ref.id if ref else None),
    }


def _detail(call: Call, device: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for event in (call.entry, call.ret):
        if event is not None and event.detail is not None:
            told = {name: getattr(event.detail, name) for name in event.detail.__slots__}
            shown |= {name: value for name, value in told.items() if value is not None}
    if "status" in shown:
        shown["status_names"] = _bits(shown["status"])
    bits = int(shown.get("features", "0"), 16)
    if bits:
        names = features.names(device, [b for b in range(bits.bit_length()) if bits >> b & 1])
        shown["feature_names"] = " ".join(names)
    if shown.get("vector") == NO_VECTOR:
        shown["vector"] = "none"
    return shown
