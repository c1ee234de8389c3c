# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks a graph against a procedure: steps, findings and a verdict.

Lost is not passed: what was not armed, lost, truncated or still running is unknown, and a verdict
with anything unknown is INCOMPLETE. A missing call is an error only if its absence is proof: its
probe point was armed all the time and no event was lost. Under profile spec, the notes on known
deviations of Linux do not change the verdict.
"""

from __future__ import annotations

from virtio_trace.check import (
    consistency_rules,
    empty_slots,
    end_state_rules,
    host_rules,
    linux_rules,
    linux_transport,
    recording_rules,
    spec_end_rules,
    spec_rules,
    spec_steps,
)
from virtio_trace.check.coverage import is_complete, lacks, unseen
from virtio_trace.check.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    INCOMPLETE,
    RECORDING,
    WARNING,
    CheckContext,
    Result,
)
from virtio_trace.check.profiles import LINUX, SPEC
from virtio_trace.graph.model import Device, Graph


def check(graph: Graph, profile: str = LINUX) -> Result:
    """Check GRAPH against the procedure of PROFILE, one of profiles.PROFILES."""
    graph, empty = empty_slots.set_aside(graph)
    context = CheckContext(graph, profile)
    if profile == SPEC:
        _spec(context)
    else:
        _linux(context, empty)
    result = context.result
    result.verdict = _verdict(result)
    return result


def _linux(context: CheckContext, empty: list[Device]) -> None:
    graph = context.graph
    said = lacks(graph.recording)
    if not graph.devices and not graph.drivers:
        said.append("no device and no driver was seen")
    complete = is_complete(graph.recording)
    said += recording_rules.doubts(graph, LINUX)
    other = recording_rules.of_another_kernel(graph)
    if other is not None:
        said.append(other)
    _recording(context, said, complete)
    linux_rules.bus(context)
    for driver in graph.registrations:
        linux_rules.driver(context, driver)
    linux_transport.note_empty_slots(context, empty)
    for device in graph.devices:
        linux_rules.device(context, device)
    consistency_rules.check(context)
    end_state_rules.check(context)
    host_rules.check(context)


def _spec(context: CheckContext) -> None:
    """The specification does not care which driver it is and which file it is in."""
    graph = context.graph
    said = unseen(graph.recording, spec_steps.NEEDED)
    complete = not said
    said += recording_rules.doubts(graph, SPEC)
    if not graph.devices:
        said.append("no device was seen")
    _recording(context, said, complete)
    for device in graph.devices:
        spec_rules.device(context, device)
    spec_end_rules.check(context)


def _verdict(result: Result) -> str:
    if any(finding.severity == ERROR for finding in result.findings):
        return DEVIATES
    unknown = any(step.ok is None for step in result.steps)
    if unknown or any(finding.step == RECORDING for finding in result.findings):
        return INCOMPLETE
    return CONFORMS


def _recording(context: CheckContext, said: list[str], complete: bool) -> None:
    """Report what the recording lacks; each such finding rules out CONFORMS."""
    if complete:
        running = {call.event.symbol for call in context.graph.calls if call.ret is None}
        said += [f"{name} had not returned when the recording ended" for name in sorted(running)]
    for message in said:
        context.finding(WARNING, RECORDING, RECORDING, message)
