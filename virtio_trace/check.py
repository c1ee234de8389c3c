# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph against the procedure: steps, findings and a verdict.

Lost is never passed: what was not armed, lost, cut or still running is unknown, and a verdict
with anything unknown is INCOMPLETE. That a call is missing is an error only where its absence is
proof: its probe point was armed all along and nothing was lost. Under profile spec a note of what
Linux is known to do otherwise turns nothing.
"""

from __future__ import annotations

from collections.abc import Container

from virtio_trace import host_rules, rules, spec, spec_rules
from virtio_trace.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    INCOMPLETE,
    LINUX,
    RECORDING,
    SPEC,
    WARNING,
    Result,
    Sheet,
)
from virtio_trace.model import Graph
from virtio_trace.procedure import NEEDED
from virtio_trace.recording import Recording


def check(graph: Graph, profile: str = LINUX) -> Result:
    """Check GRAPH against the procedure of PROFILE, one of findings.PROFILES."""
    sheet = Sheet(graph, profile)
    if profile == SPEC:
        _spec(sheet)
    else:
        _linux(sheet)
    result = sheet.result
    result.verdict = _verdict(result)
    return result


def _linux(sheet: Sheet) -> None:
    graph = sheet.graph
    said = lacks(graph.recording)
    if not graph.devices and not graph.drivers:
        said.append("no device and no driver was seen")
    _recording(sheet, said, graph.recording.complete)
    rules.bus(sheet)
    for driver in graph.registrations:
        rules.driver(sheet, driver)
    rules.empty_slots(sheet)
    for device in graph.devices:
        rules.device(sheet, device)
    host_rules.check(sheet)


def _spec(sheet: Sheet) -> None:
    """What a driver is, and by which file, is no concern of the specification."""
    graph = sheet.graph
    said = unseen(graph.recording, spec.NEEDED)
    complete = not said
    if not graph.devices:
        said.append("no device was seen")
    _recording(sheet, said, complete)
    for device in graph.devices:
        spec_rules.device(sheet, device)


def _verdict(result: Result) -> str:
    if any(finding.severity == ERROR for finding in result.findings):
        return DEVIATES
    unknown = any(step.ok is None for step in result.steps)
    if unknown or any(finding.step == RECORDING for finding in result.findings):
        return INCOMPLETE
    return CONFORMS


def _recording(sheet: Sheet, said: list[str], complete: bool) -> None:
    """What the recording lacks; each of these keeps the verdict from CONFORMS."""
    if complete:
        running = {call.event.symbol for call in sheet.graph.calls if call.ret is None}
        said += [f"{name} had not returned when the recording ended" for name in sorted(running)]
    for message in said:
        sheet.finding(WARNING, RECORDING, RECORDING, message)


def lacks(recording: Recording) -> list[str]:
    """What RECORDING does not have of what happened, a sentence each."""
    said = unseen(recording, NEEDED)
    for file, reason in recording.header.evidence.unread.items():
        said.append(f"{file} could not be read: {reason}")
    return said


def unseen(recording: Recording, needed: Container[str]) -> list[str]:
    """The events that RECORDING does not have, of the probe points that are NEEDED."""
    said = []
    if recording.trailer is None:
        said.append("the recording was cut short: it has no trailer")
    if recording.lost:
        said.append(f"{recording.lost} event{_s(recording.lost)} lost")
    elif recording.trailer is not None and recording.trailer.events != len(recording.events):
        said.append(
            f"the trailer counts {recording.trailer.events} events, "
            f"the file has {len(recording.events)}"
        )
    for probe in recording.unseen:
        if probe.probe not in needed:
            continue
        where = f"{probe.function} [{probe.module}]" if probe.module else probe.function
        if probe.missed:
            said.append(f"{where}: {probe.missed} hit{_s(probe.missed)} missed by the kernel")
        else:
            said.append(f"{where} was not armed ({probe.reason}): {probe.without} is not seen")
    return said


def _s(count: int) -> str:
    return " was" if count == 1 else "s were"
