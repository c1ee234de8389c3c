# SPDX-License-Identifier: GPL-2.0-or-later
"""A probe that was armed late proves nothing about the time before."""

from __future__ import annotations

import pytest

from tests.unit.surgery import Line, at, golden, judge, remove
from virtio_trace.check.findings import INCOMPLETE
from virtio_trace.check.profiles import LINUX, SPEC


def late(lines: list[Line], probe: str, armed_ns: int) -> list[Line]:
    """LINES as if all probes but PROBE had been armed before user space began."""
    lines[0]["user_space_ns"] = lines[0]["started_ns"]
    for line in (lines[0], lines[-1]):
        for state in line["probes"]:
            state["armed_ns"] = armed_ns if state["probe"] == probe else None
    return lines


def test_what_was_armed_late_and_is_not_seen_is_unknown_to_profile_spec() -> None:
    """Once an error: the probe is armed, so the missing event was taken as proof."""
    lines = golden("debian-6.1")
    first = min(line["ns"] for line in lines[1:-1] if at("set_status")(line))
    end = max(line["ns"] for line in lines[1:-1] if at("set_status")(line))
    cut = remove(lines, lambda line: at("reset")(line) and first - 10**9 < line["ns"] < end)
    assert judge(cut, SPEC).verdict != INCOMPLETE
    result = judge(late(cut, "reset", end), SPEC)
    assert result.verdict == INCOMPLETE
    assert not [f for f in result.findings if f.severity == "error"]


@pytest.mark.parametrize("probe", ["virtio_dev_match", "register_virtio_device", "driver_probe"])
def test_what_a_verdict_needs_and_was_armed_late(probe: str) -> None:
    lines = late(golden("debian-6.1"), probe, golden("debian-6.1")[0]["started_ns"])
    result = judge(lines, LINUX)
    assert result.verdict == INCOMPLETE
    assert any("was armed late" in f.message for f in result.findings if f.step == "recording")


def test_armed_before_the_snapshot_is_not_late() -> None:
    lines = golden("debian-6.12")
    for line in (lines[0], lines[-1]):
        for state in line["probes"]:
            state["armed_ns"] = lines[0]["snapshot_ns"] - 1
    assert judge(lines).verdict == judge(golden("debian-6.12")).verdict
