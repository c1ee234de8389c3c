# SPDX-License-Identifier: GPL-2.0-or-later
"""The two profiles' rules, called while a recording is read: what is complete is judged and
dropped.

The findings are ordered by section, whenever they were made.
"""

from __future__ import annotations

from virtio_trace.check import (
    consistency_rules,
    end_state_rules,
    host_rules,
    kernel_log,
    linux_rules,
    linux_transport,
    recording_rules,
    spec_end_rules,
    spec_rules,
    spec_steps,
)
from virtio_trace.check.coverage import is_complete, lacks, unseen
from virtio_trace.check.empty_slots import EmptySlots
from virtio_trace.check.findings import RECORDING, WARNING, CheckContext, Result
from virtio_trace.check.profiles import LINUX, SPEC
from virtio_trace.check.proof import Known
from virtio_trace.check.scope import EVERYTHING, Scope
from virtio_trace.graph.follower import Follower, Watched
from virtio_trace.graph.model import Device, Driver, Graph, NotYetError

_RECORDING, _BUS, _DRIVERS, _SLOTS, _DEVICES, _BUSES, _NAMES, _TWICE, _BINDINGS = range(9)
_CALLS = {
    consistency_rules.BUS: _BUSES,
    consistency_rules.DRIVERS: _NAMES,
    consistency_rules.DRIVER_PROBES: 9,
    consistency_rules.INTERFACES: 10,
    consistency_rules.SUSPENDS: 11,
}
_INITS, _END, _HOST, _LOG = 12, 13, 14, 15
"""The sections of profile linux, in order."""

_OUTCOMES, _RESTORES, _SPEC_END = 9, 10, 11
"""The sections of profile spec after _DEVICES."""


class LinuxChecker(Follower):
    """Profile linux on SCOPE, if KNOWN is true of the recording. All is judged, as what is outside
    of the scope may explain what is in it; verdict.py then leaves it out."""

    watches = frozenset(consistency_rules.KINDS)

    def __init__(self, known: Known, scope: Scope = EVERYTHING) -> None:
        self._known = known
        self._scope = scope
        self._registrations = consistency_rules.Registrations()
        self._kept: set[int] = set()

    def begin(self, graph: Graph) -> None:
        """The events of GRAPH are about to be read."""
        self._context = CheckContext(graph, LINUX, self._known)
        self._empty = EmptySlots(graph)
        self._calls = consistency_rules.Calls(self._context)

    def device(self, device: Device) -> bool:
        """Judge DEVICE, unless that needs what comes later."""
        if self._empty.take(device):
            return True
        self._registrations.judge(self._context, device, _TWICE, False)
        if device.is_open or not self._judge(device):
            self._kept.add(device.order)
            return False
        return True

    def driver(self, driver: Driver) -> bool:
        """Judge the registration DRIVER."""
        if driver.is_open:
            return False
        try:
            self._context.judge(_DRIVERS, driver.order, linux_rules.driver, driver)
        except NotYetError:
            return False
        return True

    def settled(self, watched: Watched) -> None:
        """Judge the call."""
        section = _CALLS[consistency_rules.KINDS[str(watched.call.event.probe)]]
        self._context.judge(section, 0, self._calls.judge, watched)

    def end(self) -> Result:
        """Judge the rest. The whole recording has been read, and what was known is true."""
        context, graph = self._context, self._context.graph
        self._empty.end()
        context.judge(_RECORDING, 0, _linux_recording, self._scope)
        context.judge(_BUS, 0, linux_rules.bus)
        for driver in graph.registrations:
            context.judge(_DRIVERS, driver.order, linux_rules.driver, driver)
        context.judge(_SLOTS, 0, linux_transport.note_empty_slots, self._empty.found)
        for device in self._registrations.waiting():
            self._registrations.judge(context, device, _TWICE, True)
        for device in graph.devices:
            self._judge(device)
            if device.order not in self._kept:
                self._registrations.judge(context, device, _TWICE, True)
        context.judge(_CALLS[consistency_rules.SUSPENDS], 1, self._calls.suspends.end)
        context.judge(_INITS, 0, consistency_rules.inits)
        context.judge(_END, 0, end_state_rules.check)
        context.judge(_HOST, 0, host_rules.check)
        context.judge(_LOG, 0, kernel_log.check)
        return context.result()

    def _judge(self, device: Device) -> bool:
        context = self._context
        try:
            context.judge(_DEVICES, device.order, linux_rules.device, device)
        except NotYetError:
            return False
        context.judge(_BINDINGS, device.order, consistency_rules.bindings, device)
        return True


def _linux_recording(context: CheckContext, scope: Scope) -> None:
    graph = context.graph
    said = lacks(graph.recording, scope)
    if not graph.devices and not graph.drivers:
        said.append("no device and no driver was seen")
    said += recording_rules.doubts(graph, LINUX, scope)
    other = recording_rules.of_another_kernel(graph)
    if other is not None:
        said.append(other)
    _report(context, said, is_complete(graph.recording), scope)


class SpecChecker(Follower):
    """Profile spec on SCOPE, if KNOWN is true of the recording. The specification does not care
    which driver it is and which file it is in."""

    def __init__(self, known: Known, scope: Scope = EVERYTHING) -> None:
        self._known = known
        self._scope = scope

    def begin(self, graph: Graph) -> None:
        """The events of GRAPH are about to be read."""
        self._context = CheckContext(graph, SPEC, self._known)
        self._empty = EmptySlots(graph)

    def device(self, device: Device) -> bool:
        """Judge DEVICE, unless that needs what comes later."""
        return self._empty.take(device) or (not device.is_open and self._judge(device))

    def end(self) -> Result:
        """Judge the rest. The whole recording has been read, and what was known is true."""
        context = self._context
        self._empty.end()
        context.judge(_RECORDING, 0, _spec_recording, self._scope)
        for device in context.graph.devices:
            self._judge(device)
        context.judge(_SPEC_END, 0, spec_end_rules.end)
        return context.result()

    def _judge(self, device: Device) -> bool:
        context = self._context
        try:
            context.judge(_DEVICES, device.order, spec_rules.device, device)
        except NotYetError:
            return False
        context.judge(_OUTCOMES, device.order, spec_end_rules.outcomes, device)
        for call in device.restores:
            if call.event.driver is not None:
                place = call.event.seq
                context.judge(_RESTORES, place, spec_end_rules.restored, device, call)
        return True


def _spec_recording(context: CheckContext, scope: Scope) -> None:
    graph = context.graph
    said = unseen(graph.recording, spec_steps.NEEDED, scope)
    complete = not said
    said += recording_rules.doubts(graph, SPEC, scope)
    if not graph.devices:
        said.append("no device was seen")
    _report(context, said, complete, scope)


def _report(context: CheckContext, said: list[str], complete: bool, scope: Scope) -> None:
    """Report what the recording lacks; each such finding rules out CONFORMS."""
    if complete or not scope.is_all:
        calls = (call for call in context.graph.open_calls if scope.is_about(call.event))
        running = {call.event.symbol for call in calls}
        said += [f"{name} had not returned when the recording ended" for name in sorted(running)]
    for message in said:
        context.finding(WARNING, RECORDING, RECORDING, message)
