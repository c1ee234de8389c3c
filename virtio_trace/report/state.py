# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a device at the end of the recording, and why.

Events tell it, except after a loss: then sysfs at the end does, and without it the state is
unknown.
"""

from __future__ import annotations

from typing import NamedTuple

from virtio_trace.check import diagnosis
from virtio_trace.check.proof import Proof
from virtio_trace.check.unbound import why_unbound
from virtio_trace.graph.model import Binding, Device, Graph
from virtio_trace.recording.events import Event
from virtio_trace.virtio.numbers import EPROBE_DEFER

BOUND = "bound"
FAILED = "failed"
UNBOUND = "unbound"
REMOVED = "removed"
UNKNOWN = "unknown"

_LOST = "events were lost after the last one that shows its state"


class State(NamedTuple):
    """``state`` is one of the above; ``driver`` is that of a bound device."""

    state: str
    reason: str | None = None
    driver: str | None = None


def replaced(device: Device) -> State:
    """The state of DEVICE, after which another one came at its address."""
    seen = device.unregister is not None
    return State(REMOVED, None if seen else "another device came at its address")


def at_end(proof: Proof, device: Device, complete: bool) -> State:
    """The state of DEVICE, the last one at its address, when every event was read. COMPLETE:
    whether the recording is."""
    found = _by_events(proof, device, complete)
    turn = _last_turn(device)
    if not _is_doubtful(proof.graph, device, turn):
        return found
    return _by_sysfs(proof, device, found, turn)


def _is_doubtful(graph: Graph, device: Device, turn: Event | None) -> bool:
    """Whether an event that changed the state of DEVICE may be lost."""
    if turn is not None:
        return graph.losses.after(turn)
    taken = graph.recording.header.snapshot_ns
    return graph.losses.since(taken if device.snapshot and taken is not None else 0)


def failure(graph: Graph, binding: Binding, complete: bool) -> tuple[str | None, str | None]:
    """The step of the procedure at which BINDING failed, and why; (None, None) if it did not.
    COMPLETE: whether the recording is."""
    call, probe = binding.call, binding.probe
    if call.result in (0, None):
        return None, None
    own = probe is not None and probe.result not in (0, None)
    reason = diagnosis.binding(graph, binding, complete)
    return ("driver-probed" if own else "bus-probed"), reason


def _by_events(proof: Proof, device: Device, complete: bool) -> State:
    graph = proof.graph
    if device.unregister is not None:
        return State(REMOVED)
    if device.bound_to is not None:
        return State(BOUND, None, device.bound_to)
    for call in (device.register, device.transport):
        if call is not None and call.result not in (0, None):
            return State(FAILED, diagnosis.failed(graph, device, call))
    last = device.bindings[-1] if device.bindings else None
    if last is None:
        reasons = (one.message for one in why_unbound(proof, device))
        return State(UNBOUND, "; ".join(reasons) or None)
    if last.unbound is not None:
        return State(UNBOUND, f"unbound from {last.driver}{diagnosis.autoprobe(graph)}")
    if last.call.result is None:
        return State(UNBOUND, f"what {last.call.event.symbol} returned was not seen")
    reason = failure(graph, last, complete)[1]
    return State(UNBOUND if last.call.result == -EPROBE_DEFER else FAILED, reason)


def _last_turn(device: Device) -> Event | None:
    """The last event that changed the state of DEVICE."""
    calls = [device.transport, device.register, device.unregister, *device.removals[-1:]]
    calls += [binding.call for binding in device.bindings[-1:]]
    turns = [call.ret or call.event for call in calls if call is not None]
    return max(turns, key=lambda event: event.seq, default=None)


def _by_sysfs(proof: Proof, device: Device, found: State, turn: Event | None) -> State:
    """What sysfs at the end makes of FOUND, the state by the events up to TURN."""
    trailer = proof.graph.recording.trailer
    end = trailer.end_state if trailer else None
    read = trailer.end_state_ns if trailer else None
    if end is None or (turn is not None and read is not None and turn.ns >= read):
        return State(UNKNOWN, _LOST)
    there = proof.at_end.get(device.address)
    registered = device.register is not None and device.register.result == 0
    if there is None:
        stays = not (registered or device.snapshot) or found.state == REMOVED
        return found if stays else State(REMOVED, "not on the VirtIO bus at the end")
    if there.driver is None:
        stays = found.state in (UNBOUND, FAILED)
        return found if stays else State(UNBOUND, "no driver has it at the end")
    return State(BOUND, None, there.driver)
