# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a device after events were lost: what sysfs says, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.surgery import Line, dump, golden
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.report.summary import summarize

NET = "0000:00:02.0"
LOST = "events were lost after the last one that shows its state"

State = tuple[str, str | None, str | None]


def states(lines: list[Line]) -> dict[tuple[str, int], State]:
    """State, driver and reason of each device, by address and generation."""
    report = summarize(builder.build(reader.read(dump(lines), "test")))
    return {
        (d["address"], d["generation"]): (d["state"], d["driver"], d["reason"])
        for d in report["devices"]
    }


def lossy(first: int, last: int, lines: list[Line]) -> list[Line]:
    """LINES without the events from FIRST to LAST, which are counted as lost."""
    kept = [line for line in lines[1:-1] if not first <= line["seq"] <= last]
    lost = lines[-2]["seq"] - len(kept)
    return [lines[0], *kept, {**lines[-1], "events": len(kept), "lost": lost}]


def ended(lines: list[Line], **members: Any) -> list[Line]:
    """LINES with sysfs at the end showing NET with MEMBERS; without any, not showing it."""
    final = lines[-1]["final"]
    devices = [d for d in final["devices"] if d["address"] != NET]
    devices += [d | members for d in final["devices"] if d["address"] == NET and members]
    return [*lines[:-1], {**lines[-1], "final": final | {"devices": devices}}]


def without_end(lines: list[Line]) -> list[Line]:
    return [*lines[:-1], {**lines[-1], "final": None}]


@pytest.fixture
def gap() -> list[Line]:
    """NET is unbound before the gap, and bound again inside it."""
    return golden("debian-6.1-lossy")


def test_who_came_back_inside_the_gap_is_another_device(gap: list[Line]) -> None:
    found = states(gap)
    assert found[NET, 0] == ("removed", None, None)
    assert found[NET, 1] == ("bound", "virtio_net", None)
    assert found["0000:00:03.0", 1] == ("bound", "virtio_blk", None)


def test_without_sysfs_its_state_is_unknown(gap: list[Line]) -> None:
    found = states(without_end(gap))
    assert found[NET, 0] == ("removed", None, None)
    assert found[NET, 1] == ("unknown", None, LOST)
    assert found["0000:00:03.0", 1] == ("bound", "virtio_blk", None)


@pytest.mark.parametrize("first", [287, 289, 290, 292, 305, 306, 307])
def test_any_step_of_its_initialisation_shows_the_next_device(gap: list[Line], first: int) -> None:
    found = states(without_end(lossy(190, first - 1, gap)))
    assert found[NET, 1] == ("unknown", None, LOST)


def test_the_end_of_a_removal_is_not_the_next_device(gap: list[Line]) -> None:
    """The writes of 0 and ACKNOWLEDGE, after a gap that begins inside the removal."""
    blk = "0000:00:03.0"
    found = states(lossy(312, 312, gap))
    assert {number for address, number in found if address == blk} == {0, 1}
    assert found[blk, 0] == ("removed", None, None)


def test_nothing_after_the_gap_shows_it(gap: list[Line]) -> None:
    cut = lossy(190, 400, gap)
    assert states(cut)[NET, 0] == ("bound", "virtio_net", None)
    assert states(ended(cut, driver=None))[NET, 0] == (
        "unbound", None, "no driver has it at the end",
    )  # fmt: skip
    assert states(ended(cut))[NET, 0] == ("removed", None, None)
    assert states(without_end(cut))[NET, 0] == ("unknown", None, LOST)


def test_a_bound_device_may_have_been_unbound_in_a_gap() -> None:
    boot = golden("debian-6.1-ftrace")
    end = boot[-2]["seq"]
    cut = lossy(end - 5, end - 1, boot)
    assert states(cut)[NET, 0] == ("bound", "virtio_net", None)
    assert states(ended(cut))[NET, 0] == ("removed", None, "not on the VirtIO bus at the end")
    assert states(without_end(cut))[NET, 0] == ("unknown", None, LOST)
    # nothing was lost: events alone are enough
    assert states(without_end(boot))[NET, 0] == ("bound", "virtio_net", None)


def test_what_was_lost_without_a_gap_may_be_anywhere() -> None:
    boot = without_end(golden("debian-6.1"))
    counted = [*boot[:-1], {**boot[-1], "lost": 1}]
    assert set(states(counted).values()) == {("unknown", None, LOST)}


def test_what_sysfs_showed_before_an_event_is_older_than_the_event(gap: list[Line]) -> None:
    cut = lossy(190, 400, gap)
    turn = next(line for line in cut[1:-1] if line["seq"] == 189)
    early = [*cut[:-1], {**cut[-1], "final_ns": turn["ns"] - 1}]
    assert states(early)[NET, 0] == ("unknown", None, LOST)


def test_a_loss_before_everything_else_makes_nothing_unknown() -> None:
    overrun = states(golden("debian-6.12-overrun"))
    assert overrun == states(without_end(golden("debian-6.12-overrun")))
    assert {state for state, _, _ in overrun.values()} == {"bound"}
