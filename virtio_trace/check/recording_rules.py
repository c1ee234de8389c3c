# SPDX-License-Identifier: GPL-2.0-or-later
"""How a recording contradicts itself: lost events that were not counted, a list of probe points
that cannot be right, evidence from another kernel.

None of these is the kernel's fault, but such a recording cannot be trusted: each rules out
CONFORMS, and what is missing becomes unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from virtio_trace.check import linux_steps, spec_steps
from virtio_trace.check.scope import EVERYTHING, Scope
from virtio_trace.graph.calls import Call
from virtio_trace.graph.integrity import Point
from virtio_trace.graph.model import Graph
from virtio_trace.recording.events import Event
from virtio_trace.recording.probe_state import ABSENT, ARMED, NOT_ARMED, WAITING, ProbeState
from virtio_trace.virtio import transports

_LINUX_CORE = (
    "bus_register",
    "register_virtio_driver",
    "unregister_virtio_driver",
    "register_virtio_device",
    "unregister_virtio_device",
    "virtio_dev_match",
    "virtio_dev_probe",
    "virtio_dev_remove",
)
"""The probe points that profile linux needs and every kernel with a VirtIO bus has."""

_SPEC_CORE = (
    "register_virtio_device",
    "unregister_virtio_device",
    "virtio_dev_probe",
    "virtio_dev_remove",
    "set_status",
    "reset",
    "get_features",
)
"""The same for profile spec. The functions of its other probe points may be inlined."""

_BUS_MODULE = "virtio"
"""The module of drivers/virtio/virtio.c, which registers the bus."""

LINUX, SPEC = "linux", "spec"

CORE = {LINUX: _LINUX_CORE, SPEC: _SPEC_CORE}


NEEDED = {LINUX: linux_steps.NEEDED, SPEC: spec_steps.NEEDED}


def lost_unnoticed(graph: Graph, profile: str) -> bool:
    """Whether something is missing but not counted as lost: a return without an entry, an entry and
    a return that do not belong together, or a needed event that names no device or driver."""
    found = graph.integrity
    if found.orphans or found.crossed:
        return True
    return any(event.probe in NEEDED[profile] for event in found.nameless)


def blind(graph: Graph) -> set[tuple[str | None, str | None]]:
    """The probe points and functions whose events do not show every call."""
    unnamed = {(event.probe, event.function) for event in graph.integrity.nameless}
    return unnamed | {(state.probe, state.function) for state in false_waits(graph)}


def unlisted(states: Collection[ProbeState], core: Collection[str]) -> list[str]:
    """The CORE probe points that a recording does not list, or lists only as absent."""
    listed = {state.probe for state in states if state.state != ABSENT}
    return sorted(probe for probe in core if probe not in listed)


def false_waits(graph: Graph) -> list[ProbeState]:
    """The probe points that wait for a module that was loaded, or was there before, or for none.

    A module whose init failed is unloaded again, so its probe points still wait.
    """
    waits = [state for state in graph.recording.probes if state.state == WAITING]
    found = [s for s in waits if s.module is None or _has_come(graph, s.module)]
    # at boot they may wait for a module that was loaded after the recorder took over
    boot = graph.recording.header.boot_probes
    return found + [s for s in boot if s.state == WAITING and s.module is None]


def _has_come(graph: Graph, module: str) -> bool:
    init = graph.inits.get(module)
    if module in graph.modules:
        return init is None or init.result in (0, None)
    snapshot, trailer = graph.recording.header.snapshot, graph.recording.trailer
    end = trailer.end_state if trailer is not None else None
    if (end is not None and module in end.modules) or (snapshot.bus and module == _BUS_MODULE):
        return True
    return any(driver.module == module for driver in snapshot.drivers)


def doubts(graph: Graph, profile: str, scope: Scope = EVERYTHING) -> Iterator[str]:
    """One sentence for each contradiction in what PROFILE needs of SCOPE.

    Whatever contradicts itself shows that events were lost, which may be anyone's. Only the state
    of a probe point that SCOPE does not need is left out.
    """
    recording, found = graph.recording, graph.integrity
    needed, core = NEEDED[profile], {*CORE[profile]}
    if profile == LINUX:
        buses = filter(scope.needs_bus, (+graph.buses).keys() & transports.BY_BUS)
        core |= {transports.BY_BUS[bus].probe for bus in buses}
    if recording.trailer is None:
        return  # truncated: the list of probe points is the initial one
    for probe in unlisted(graph.recording.probes, core):
        yield f"{probe} is not in the recording's list of probe points: its events may be missing"
    if recording.header.boot_probes:  # the bus is registered before any event can be armed
        for probe in unlisted(recording.header.boot_probes, core - {"bus_register"}):
            yield f"{probe} is not in the list of probe points at boot: its events may be missing"
    for state in false_waits(graph):
        if state.probe in needed and scope.needs(state):
            yield (
                f"{state.function} is listed as waiting for its module, "
                "which was loaded: its events may be missing"
            )
    yield from _unarmed(graph, needed)
    if not recording.lost:
        yield from _each(found.orphans, "returned, but its entry is missing: events were lost")
    changed = (event.device.address for event in found.changed if event.device)
    for address in dict.fromkeys(changed):
        yield f"{address} has other ids in some events than in earlier ones"
    yield from _each(found.crossed, "has an entry and a return that are about different things")
    events = [event for event in found.nameless if event.probe in needed]
    yield from _each(events, "does not say what it is about")


def _unarmed(graph: Graph, needed: Collection[str]) -> Iterator[str]:
    """Events of probe points that are not listed as armed."""
    header, trailer = graph.recording.header, graph.recording.trailer
    live, boot = _points(trailer.probes if trailer else ()), _points(header.boot_probes)
    early = graph.integrity.early
    if not boot:
        # without boot-time events, no event can precede the arming of the first probe point
        early = early if _begins_early(graph) else early - live
    wrong = (graph.integrity.points - live) | (early - boot if boot else early)
    for probe, function, module in sorted(wrong, key=str):
        if probe in needed:
            symbol = f"{function} [{module}]" if module else function
            yield f"{symbol} has events, but is not listed as armed"


def _points(states: Collection[ProbeState]) -> set[Point]:
    """The armed ones. Those listed as not armed are included: they rule out CONFORMS anyway."""
    return {(s.probe, s.function, s.module) for s in states if s.state in (ARMED, NOT_ARMED)}


def _begins_early(graph: Graph) -> bool:
    """Whether the first event precedes the time at which the recorder says it began to arm."""
    header, first = graph.recording.header, graph.recording.first_ns
    took = header.arming_seconds
    if header.started_ns is None or header.user_space_ns is not None or took is None:
        return False
    seconds = sum(took.values())
    return first is not None and first < header.started_ns - (seconds + 1) * 1_000_000_000


def _each(found: Collection[Call] | Collection[Event], what: str) -> Iterator[str]:
    """One sentence per function."""
    events = (item.event if isinstance(item, Call) else item for item in found)
    for symbol, number in Counter(event.symbol for event in events).items():
        times = f" ({number} times)" if number > 1 else ""
        yield f"{symbol} {what}{times}"


def of_another_kernel(graph: Graph) -> str | None:
    """A sentence if the evidence is from another kernel than the recording."""
    header = graph.recording.header
    if header.evidence.release == header.release:
        return None
    return (
        f"the evidence is from Linux {header.evidence.release}, "
        f"the recording from Linux {header.release}"
    )
