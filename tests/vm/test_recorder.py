# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorder in a real guest: every way to end it, and an overrun ring. See inside.py."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from typing import Any

import pytest

from tests.vm.guest import BLK, NET, Boot, Guest, running, told

_SCRIPT = running("inside", "traces", "inside_recorders")

GUESTS = {"6.1": Guest("6.1", _SCRIPT, (*NET, *BLK), append="quiet", seconds=150, python=True)}

NOTHING = {"groups": [], "armed": [0], "recorders": []}

# Scenario: exit status, parts of each line of standard error, how the recording ends.
INTERRUPTED = ["virtio-trace: interrupted"]
SIGNALLED = (0, ["2 events in /run/inner.vtr, 0 lost"], "interrupt")
ENDS: dict[str, tuple[int, list[str], str | None]] = {
    "kill, recording": (-signal.SIGKILL, [], None),
    "kill, arming": (-signal.SIGKILL, [], None),
    "int, recording": SIGNALLED,
    "term, recording": SIGNALLED,
    "hup, recording": SIGNALLED,
    "hup, forks": (128 + signal.SIGHUP, INTERRUPTED, None),
    "hup, compiles": (128 + signal.SIGHUP, INTERRUPTED, None),
    "int, first event defined": (128 + signal.SIGINT, INTERRUPTED, None),
    "term, half of them defined": (128 + signal.SIGTERM, INTERRUPTED, None),
    "term, one half attached": (128 + signal.SIGTERM, INTERRUPTED, None),
    "full": (4, ["/dev/full: cannot write: No space left", "-o FILE"], None),
    "closed stdout": (2, ["standard output is closed", "-o FILE"], None),
    "reader gone": (-signal.SIGPIPE, [], None),
    "no such command": (2, ["no-such-command: no such command", "after --"], None),
    "no such folder": (2, ["/nowhere/x.vtr: cannot be written", "-o FILE"], None),
    "status of the command": (
        7, ["2 events in /run/inner.vtr", "the command ended with status 7"], "command",
    ),
    "command killed": (
        137, ["0 events in /run/inner.vtr", "the command ended with status 137"], "command",
    ),
    "duration": (0, ["0 events in /run/inner.vtr"], "duration"),
    "not root": (3, ["cannot trace here: ", "run it with sudo"], None),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(booted: Boot) -> dict[str, Any]:
    """What inside.py printed."""
    *said, last = booted.sections["outcomes"]
    assert said == []
    found: dict[str, Any] = json.loads(last)
    return found


def ended_well(outcome: dict[str, Any], status: int, said: list[str], ended: str | None) -> None:
    """Its status, at most a line and a hint, nothing left behind, and the recording's end."""
    lines = told(outcome["said"])
    assert outcome["status"] == status, lines
    assert len(lines) == len(said) <= 2, lines
    assert all(part in line for line, part in zip(lines, said, strict=True)), lines
    assert outcome["left"] == NOTHING
    assert outcome["recording"].get("ended") == ended
    if ended is not None:
        assert outcome["recording"]["report"] == 0
        assert outcome["recording"]["not_armed"] == []


@pytest.mark.parametrize("name", ENDS)
def test_every_end_is_said_and_leaves_nothing(outcomes: dict[str, Any], name: str) -> None:
    ended_well(outcomes[name], *ENDS[name])


@pytest.mark.parametrize("name", ["hup, python starts", "hup, imports"])
def test_before_anything_is_armed_a_signal_may_just_kill(
    outcomes: dict[str, Any], name: str
) -> None:
    outcome = outcomes[name]
    assert outcome["status"] in (-signal.SIGHUP, 128 + signal.SIGHUP)
    assert told(outcome["said"]) in ([], INTERRUPTED)
    assert outcome["left"] == NOTHING


def test_what_was_seen_is_kept(outcomes: dict[str, Any]) -> None:
    """Each asked the bus once while it recorded: a call and its return."""
    for name in ("int, recording", "term, recording", "hup, recording", "status of the command"):
        assert outcomes[name]["recording"]["matches"] == 2, name
    # Killed: no trailer, but every event that was read is there and can be read.
    killed = outcomes["kill, recording"]["recording"]
    assert (killed["lines"], killed["matches"], killed["report"]) == (3, 2, 0)


def test_the_status_of_the_command_is_kept(outcomes: dict[str, Any]) -> None:
    assert outcomes["status of the command"]["recording"]["command_status"] == 7
    assert outcomes["command killed"]["recording"]["command_status"] == 128 + signal.SIGKILL
    assert outcomes["duration"]["recording"]["command_status"] is None


def test_two_recorders_at_once(outcomes: dict[str, Any]) -> None:
    both = outcomes["two at once"]
    assert (both["groups"], both["first_left"], both["second_stays"]) == (2, False, True)
    ended_well(both["first"], *SIGNALLED)
    ended_well(both["second"], 0, ["4 events in /run/other.vtr, 0 lost"], "interrupt")
    assert both["first"]["recording"]["matches"] == 2
    assert both["second"]["recording"]["matches"] == 4


@pytest.mark.parametrize("sweeper", ["record", "doctor"])
def test_what_a_dead_recorder_left_is_swept(outcomes: dict[str, Any], sweeper: str) -> None:
    found = outcomes[f"orphan, {sweeper}"]
    assert found["before"] is True
    assert found["status"] == 0, found
    assert found["left"] == NOTHING
    if sweeper == "doctor":
        assert found["group"] in found["stdout"]
        assert "This machine can trace." in found["stdout"]


def test_the_boots_own_recorder_outlived_them_all(booted: Boot, outcomes: dict[str, Any]) -> None:
    assert outcomes["outer"]["left"] == NOTHING
    trailer = booted.lines()[-1]
    assert (trailer["ended"], trailer["command_status"]) == ("command", 0)
    assert not [probe for probe in trailer["probes"] if probe["state"] == "not armed"]


def test_lost_events_are_counted_to_the_last(booted: Boot, outcomes: dict[str, Any]) -> None:
    """Each request to the bus is an entry and a return: recorded, or counted as lost."""
    lines = booted.lines()
    events, trailer = lines[1:-1], lines[-1]
    assert trailer["lost"] > 0
    gaps = [after["seq"] - before["seq"] - 1 for before, after in pairwise(events)]
    assert sum(gaps) == trailer["lost"]
    assert events[-1]["seq"] == trailer["events"] + trailer["lost"]
    flood = outcomes["flood"]
    early = [e for e in events if e["ns"] < flood["ended_ns"]]
    lost = early[-1]["seq"] - len(early)
    assert 0 < lost < trailer["lost"]
    seen = [e for e in early if e["tid"] == flood["thread"]]
    assert {event["probe"] for event in seen} == {"virtio_dev_match"}
    assert len(seen) + lost == 2 * flood["asked"]


def test_who_came_while_events_were_lost_is_known(booted: Boot, outcomes: dict[str, Any]) -> None:
    """The description of a device was lost too; it is repeated before the next event."""
    swap = outcomes["swap"]
    assert swap["before"] != swap["after"]
    late = [
        line
        for line in booted.events()
        if line["ns"] > swap["swapped_ns"] and line["tid"] == outcomes["flood"]["thread"]
    ]
    assert len(late) == 2 * swap["asked"]
    for line in late:
        assert line["probe"] == "virtio_dev_match"
        ref = line["device"]
        assert (ref["address"], f"virtio{ref['index']}", ref["id"]) == (
            "0000:00:03.0", swap["after"], 2,
        )  # fmt: skip
        assert line["driver"] == "virtio_net"
        assert line["kind"] == "entry" or line["duration_ns"] > 0


def test_lost_is_incomplete_and_never_passed(booted: Boot) -> None:
    status, found = booted.check()
    assert (found["verdict"], status, booted.status) == ("INCOMPLETE", 4, 4)
    lost = booted.lines()[-1]["lost"]
    assert any(f"{lost} events were lost" in f["message"] for f in found["findings"])
    report = booted.report()
    assert (report["recording"]["lost"], report["recording"]["complete"]) == (lost, False)
    assert f"{lost} events were lost" in booted.read("report").stderr
