# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph against the procedure: steps, findings and a verdict.

Lost is never passed: what was not armed, lost, cut or still running is unknown, and a verdict
with anything unknown is INCOMPLETE. That a call is missing is an error only where its absence is
proof: its probe point was armed all along and nothing was lost.
"""

from __future__ import annotations

from virtio_trace import rules
from virtio_trace.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    INCOMPLETE,
    RECORDING,
    WARNING,
    Result,
    Sheet,
)
from virtio_trace.model import Graph
from virtio_trace.procedure import NEEDED
from virtio_trace.recording import Recording


def check(graph: Graph) -> Result:
    """Check GRAPH against the procedure (profile linux)."""
    sheet = Sheet(graph)
    _recording(sheet)
    rules.bus(sheet)
    for driver in graph.registrations:
        rules.driver(sheet, driver)
    for device in graph.devices:
        rules.device(sheet, device)
    result = sheet.result
    result.verdict = _verdict(result)
    return result


def _verdict(result: Result) -> str:
    if any(finding.severity == ERROR for finding in result.findings):
        return DEVIATES
    unknown = any(step.ok is None for step in result.steps)
    if unknown or any(finding.step == RECORDING for finding in result.findings):
        return INCOMPLETE
    return CONFORMS


def _recording(sheet: Sheet) -> None:
    """What the recording lacks; each of these keeps the verdict from CONFORMS."""
    said = lacks(sheet.graph.recording)
    if not sheet.graph.devices and not sheet.graph.drivers:
        said.append("no device and no driver was seen")
    if sheet.graph.recording.complete:
        running = {call.event.symbol for call in sheet.graph.calls if call.ret is None}
        said += [f"{name} had not returned when the recording ended" for name in sorted(running)]
    for message in said:
        sheet.finding(WARNING, RECORDING, RECORDING, message)


def lacks(recording: Recording) -> list[str]:
    """What RECORDING does not have of what happened, a sentence each."""
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
        if probe.probe not in NEEDED:
            continue
        where = f"{probe.function} [{probe.module}]" if probe.module else probe.function
        if probe.missed:
            said.append(f"{where}: {probe.missed} hit{_s(probe.missed)} missed by the kernel")
        else:
            said.append(f"{where} was not armed ({probe.reason}): {probe.without} is not seen")
    for file, reason in recording.header.evidence.unread.items():
        said.append(f"{file} could not be read: {reason}")
    return said


def _s(count: int) -> str:
    return " was" if count == 1 else "s were"
