# SPDX-License-Identifier: GPL-2.0-or-later
"""What --device and --driver ask for, of a recording."""

from __future__ import annotations

from collections.abc import Callable, Collection

from virtio_trace.check import named, verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, Result
from virtio_trace.check.profiles import LINUX
from virtio_trace.check.scope import Asked, Scope
from virtio_trace.recording.live_part import LivePart
from virtio_trace.recording.source import Source

Expect = Callable[[Source, Result], None]
"""Adds to the result of a check what else is expected of the recording."""

STATUS = {CONFORMS: 0, DEVIATES: 1, INCOMPLETE: 4}
"""The exit status of each verdict."""


def of(recording: Source, devices: Collection[str], drivers: Collection[str]) -> Source:
    """RECORDING, of which only DEVICES and DRIVERS are asked for, if any are named. Raises
    BadInputError, UsageError."""
    scope = named.scope(recording, devices, drivers)
    return recording if scope.is_all else Asked(recording, scope)


def judge(
    recording: Source,
    devices: Collection[str] = (),
    drivers: Collection[str] = (),
    *,
    profile: str = LINUX,
    live: bool = False,
    expect: Expect | None = None,
) -> Result:
    """The verdict on DEVICES and DRIVERS, or on all. LIVE: without what the kernel recorded of its
    own boot. Raises BadInputError, UsageError."""
    scope = named.scope(recording, devices, drivers)
    return judge_scope(recording, scope, profile, live, expect)


def judge_scope(
    recording: Source,
    scope: Scope,
    profile: str = LINUX,
    live: bool = False,
    expect: Expect | None = None,
) -> Result:
    """The verdict on SCOPE. Raises BadInputError."""
    part = LivePart(recording) if live else None
    result = verdict.judge(part or recording, profile, scope)
    if expect is not None:
        expect(part or recording, result)
    if part is not None:
        verdict.renumber(result, part.skipped)
    return result
