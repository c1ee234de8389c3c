# SPDX-License-Identifier: GPL-2.0-or-later
"""What recorders leave that were killed with their watchers, and who sweeps it: inside_sweep.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.guest import BLK, NET, Boot, Guest, running, told

_SCRIPT = running("inside_sweep", "traces", "inside_recorders")

GUESTS = {
    kernel: Guest(
        kernel, _SCRIPT, (*NET, *BLK), append="quiet", seconds=100, python=True, boot_events=False
    )
    for kernel in ("6.1", "6.12")
}

NO_GROUPS: list[str] = []


@pytest.fixture(scope="module")
def outcomes(booted: Boot) -> dict[str, Any]:
    """What inside_sweep.py printed."""
    *said, last = booted.sections["outcomes"]
    assert said == []
    found: dict[str, Any] = json.loads(last)
    return found


@pytest.mark.parametrize("name", ["recording, doctor", "arming, doctor", "recording, record"])
def test_the_first_command_sweeps_everything(outcomes: dict[str, Any], name: str) -> None:
    found = outcomes[name]
    assert (found["there"], found["status"]) == (True, 0), found
    assert found["before"] >= 30
    assert (found["left"]["groups"], found["left"]["recorders"]) == (NO_GROUPS, [])
    if "doctor" in name:
        assert f"was killed: {found['group']}\n" in found["stdout"]


def test_a_pid_that_is_another_processs_keeps_nothing(outcomes: dict[str, Any]) -> None:
    assert outcomes["reused"]["left"]["groups"] == NO_GROUPS


def test_doctor_says_in_which_instance_an_event_is_enabled(outcomes: dict[str, Any]) -> None:
    found = outcomes["enabled, doctor"]
    assert found["status"] == 0
    for event, where in zip(found["events"], ("/instances/vt_test", ""), strict=True):
        assert (
            f"left by a recorder that was killed: {event} cannot be removed: Device or resource "
            f"busy: enabled in /sys/kernel/tracing{where}\n" in found["stdout"]
        )


def test_doctor_says_whose_perf_events_may_hold_one(outcomes: dict[str, Any]) -> None:
    found = outcomes["held, doctor"]
    assert found["opened"] >= 0
    assert found["left"]["groups"] == ["virtio_trace_1_1"]  # virtio_trace_2_1 is removed
    kept = f"{found['event']} cannot be removed: Device or resource busy: perf events are open in "
    (line,) = (line for line in found["stdout"].splitlines() if kept in line)
    # The boot's own recorder has some too.
    assert f"python3 ({found['holder']})" in line.partition(kept)[2].split(", ")


def test_record_warns_of_what_is_held_and_records(outcomes: dict[str, Any]) -> None:
    found = outcomes["held, record"]
    assert found["status"] == 0
    warning, summary = told(found["said"])
    assert f"{found['event']} cannot be removed: " in warning
    assert warning.startswith("virtio-trace: warning: left by a recorder that was killed: ")
    assert "0 events in /run/after.vtr, 0 lost" in summary


def test_those_of_others_stay(booted: Boot, outcomes: dict[str, Any]) -> None:
    """Somebody's own event, and those of the recorder of this boot, which runs."""
    for name, found in outcomes.items():
        assert "error" not in found, name
        assert name == "outer" or found["foreign"], name
    assert outcomes["outer"]["left"] == {"groups": NO_GROUPS, "armed": [0], "recorders": []}
    trailer = booted.lines()[-1]
    assert (trailer["ended"], trailer["command_status"]) == ("command", 0)
