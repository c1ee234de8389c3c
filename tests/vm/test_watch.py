# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person or a service sees of a recorder in a real guest. See inside_watch.py."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.vm.guest import ARMED, BLK, NET, STEPS, Boot, Guest, running, told

RNG = ("-device", "virtio-rng-pci,addr=04.0")

_SCRIPT = running("inside_watch", "traces", "inside_recorders")

GUESTS = {
    kernel: Guest(
        kernel, _SCRIPT, (*NET, *BLK, *RNG), append="quiet", seconds=100, python=True,
        boot_events=False,
    )
    for kernel in ("6.1",)
}  # fmt: skip

OTHERS = "virtio-trace: -v shows 1 load and 1 init of other modules, 3 non-matches"


@pytest.fixture(scope="module")
def outcomes(booted: Boot) -> dict[str, Any]:
    """What inside_watch.py printed."""
    *said, last = booted.sections["outcomes"]
    assert said == []
    found: dict[str, Any] = json.loads(last)
    return found


def left(outcome: dict[str, Any]) -> tuple[list[str], list[int]]:
    """Of recorders. The kernel also lists probes in modules that are gone: the boot's own."""
    return outcome["left"]["groups"], outcome["left"]["recorders"]


def screens(text: str, columns: int) -> tuple[list[str], list[str]]:
    """What was shown for a moment, and what stayed, of a terminal's TEXT. Colours are removed."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    moments, stayed = [], []
    for line in plain.split("\r\n"):
        *replaced, last = re.split(r"\r?\x1b\[K", line)
        moments += [one for one in replaced if one]
        stayed.append(last)
    assert "\r" not in "".join([*moments, *stayed])
    assert all(len(one) <= columns for one in (*moments, *stayed)), (columns, plain)
    return moments, stayed


@pytest.mark.parametrize("columns", [80, 100])
def test_a_terminal(outcomes: dict[str, Any], columns: int) -> None:
    found = outcomes[f"{columns} columns"]
    assert (found["status"], left(found)) == (0, ([], [])), found
    moments, (first, *events, others, summary, end) = screens(found["text"], columns)
    armed = ARMED.fullmatch(first)
    assert armed and int(armed[1]) > 20 and int(armed[2]) > 5
    counted = [re.search(r"arming… (\d+) of (\d+)", one) for one in moments]
    counts = [(int(one[1]), int(one[2])) for one in counted if one]
    assert counts == sorted(counts) and len(counts) > 1
    assert counts[0][1] >= int(armed[1]) > counts[0][0]
    assert any("stopping…" in one for one in moments)
    assert (others, end) == (OTHERS, "")
    assert re.fullmatch(r"virtio-trace: \d+ events in /run/inner.vtr, 0 lost", summary)
    shown = "\n".join(events)
    assert "virtio_rng" in shown and "virtrng_probe" in shown
    assert not re.search(r"\bloop\b", shown)
    (match,) = (line for line in events if "virtio_dev_match" in line)
    assert re.search(r" = 1( \(match\))?( <|$)", match)  # in 80 columns there may be no room


def test_without_a_terminal(outcomes: dict[str, Any]) -> None:
    """A line for what is armed, the events that concern VirtIO, and what was written."""
    said = outcomes["plain"]["said"]
    assert [bool(ARMED.fullmatch(line)) for line in said if "armed" in line] == [True]
    *events, others, summary = told(said)
    assert others == OTHERS
    assert "0 lost" in summary
    assert not any("loop" in line for line in events)
    matches = [line for line in events if "virtio_dev_match" in line]
    assert len(matches) == 1 and "= 1 (match)" in matches[0]
    assert "\x1b" not in "\n".join(outcomes["plain"]["said"])


def test_verbose_shows_what_the_recording_has(outcomes: dict[str, Any]) -> None:
    plain, verbose = outcomes["plain"], outcomes["verbose"]
    assert plain["loads"] == verbose["loads"] == 2  # the recording has all
    shown = "\n".join(verbose["said"])
    assert "load module loop" in shown and "do_init_module loop" in shown
    assert re.search(r"virtio_dev_match .* = 0 ", shown)
    assert "-v shows" not in shown


def test_ready_fd_and_ctrl_c(outcomes: dict[str, Any]) -> None:
    found = outcomes["ready"]
    assert found["got"] == "\n" and found["armed"] > 30
    ended = found["recording"]["ended"]
    assert (found["status"], left(found), ended) == (0, ([], []), "interrupt")
    assert found["recording"]["matches"] == 2  # asked after the newline
    assert found["ended"] < 1.0 or STEPS[1] in found["said"], found


def test_a_descriptor_that_is_not_open(outcomes: dict[str, Any]) -> None:
    found = outcomes["not open"]
    assert found["status"] == 2 and found["recording"] == {"lines": 0}
    assert found["said"][0] == (
        "virtio-trace: --ready-fd 9: no such descriptor is open for writing"
    )


@pytest.mark.parametrize("name", ["notify", "notify, abstract"])
def test_systemd_is_notified(outcomes: dict[str, Any], name: str) -> None:
    found = outcomes[name]
    first, last = found["got"]
    assert first.startswith("READY=1\nSTATUS=armed: ") and last == "STOPPING=1\n"
    assert (found["status"], found["known"]) == (0, "[]")
    assert not [line for line in found["said"] if "warning" in line]


@pytest.mark.parametrize(
    ("name", "status", "ended", "command"),
    [
        ("command 7", 7, "command", 7),
        ("command 0", 0, "command", 0),
        ("duration", 0, "duration", 143),  # we ended it
        ("ctrl-c", 0, "interrupt", 130),  # the terminal ended it
    ],
)
def test_the_status_is_the_commands(
    outcomes: dict[str, Any], name: str, status: int, ended: str, command: int
) -> None:
    found = outcomes[name]
    assert found["status"] == status, found
    assert found["recording"]["ended"] == ended
    assert found["recording"]["command_status"] == command
