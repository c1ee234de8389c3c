# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording did not see and therefore cannot prove.

A recording has the state of each probe point and the time it was armed. This file decides which
of them a verdict needs.

See docs/decisions/0002 and 0021.
"""

from __future__ import annotations

from collections.abc import Container

from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.check.scope import EVERYTHING, Scope
from virtio_trace.recording.header import Header
from virtio_trace.recording.probe_state import NOT_ARMED, ProbeState
from virtio_trace.recording.source import Source


def first_ns(header: Header) -> int:
    """The time from which the recording claims to be complete, in ns of CLOCK_MONOTONIC.

    0 if the probes were armed before user space began. Otherwise the time of the snapshot, which
    shows what existed then.
    """
    if header.user_space_ns is not None:
        return 0
    return header.snapshot_ns or header.started_ns or 0


def is_late(header: Header, state: ProbeState) -> bool:
    """Whether the probe point may have been called before it was armed."""
    return state.armed_ns is not None and state.armed_ns > first_ns(header)


def blind(recording: Source) -> tuple[ProbeState, ...]:
    """The probe points that were not armed, were armed late or missed hits."""
    header = recording.header
    return tuple(
        state
        for state in recording.probes
        if state.state == NOT_ARMED or state.missed or is_late(header, state)
    )


def is_complete(recording: Source, needed: Container[str] = NEEDED) -> bool:
    """Whether every event of the NEEDED probe points is in the recording."""
    trailer = recording.trailer
    whole = trailer is not None and trailer.events == recording.count
    return (
        whole
        and recording.lost == 0
        and not any(state.probe in needed for state in blind(recording))
    )


def lacks(recording: Source, scope: Scope = EVERYTHING) -> list[str]:
    """What RECORDING lacks for a verdict of profile linux on SCOPE, one sentence each."""
    said = unseen(recording, NEEDED, scope)
    for file, reason in recording.header.evidence.unread.items() if scope.needs_file() else ():
        said.append(f"{file} could not be read: {reason}")
    return said


def unseen(recording: Source, needed: Container[str], scope: Scope = EVERYTHING) -> list[str]:
    """Which events of the NEEDED probe points that may concern SCOPE RECORDING lacks, one sentence
    each."""
    said = []
    if recording.trailer is None:
        said.append("the recording was cut short: it has no trailer")
    if recording.lost:
        said.append(f"{recording.lost} event{_was(recording.lost)} lost")
    elif recording.trailer is not None and recording.trailer.events != recording.count:
        said.append(
            f"the trailer counts {recording.trailer.events} events, the file has {recording.count}"
        )
    states = (state for state in blind(recording) if state.probe in needed)
    said += [_unseen(state) for state in states if scope.needs(state)]
    return said


def _unseen(state: ProbeState) -> str:
    where = f"{state.function} [{state.module}]" if state.module else str(state.function)
    if state.missed:
        return f"{where}: {state.missed} hit{_was(state.missed)} missed by the kernel"
    if state.state == NOT_ARMED:
        return f"{where} was not armed ({state.reason}): {state.without} is not seen"
    reason = state.reason or "later than the others"
    return f"{where} was armed late ({reason}): {state.without} is not seen before that"


def _was(count: int) -> str:
    return " was" if count == 1 else "s were"
