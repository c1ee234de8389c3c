# SPDX-License-Identifier: GPL-2.0-or-later
"""What was there before the recording, in one line."""

from __future__ import annotations

from collections import Counter

from virtio_trace.check import linux_steps
from virtio_trace.check.findings import Result
from virtio_trace.check.profiles import PROFILES
from virtio_trace.render.words import count

BEFORE = "before"
"""The mark of a step that came before the recording."""


def before_line(result: Result) -> str:
    """``before the recording: the bus, 4 drivers, 6 devices; how they came up was not seen``, or
    nothing."""
    found = {finding.subject: finding.step for finding in result.findings if finding.before}
    kinds = {step.id: step.of for step in PROFILES[result.profile]}
    numbers = Counter(kinds[step] for step in found.values())
    buses, drivers = numbers[linux_steps.BUS], numbers[linux_steps.DRIVER]
    devices = len(found) - buses - drivers
    parts = ["the bus"] if buses else []
    parts += [count(drivers, "driver")] if drivers else []
    parts += [count(devices, "device")] if devices else []
    if not parts:
        return ""
    return f"{BEFORE} the recording: {', '.join(parts)}; how they came up was not seen"
