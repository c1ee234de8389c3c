# SPDX-License-Identifier: GPL-2.0-or-later
"""Which probes are armed by the kernel's list, and what the trace ring lost by its counters."""

from __future__ import annotations

from virtio_trace.recording.events import ENTRY, MODULE, RETURN, Detail, Event
from virtio_trace.recording.probe_state import ARMED, NOT_ARMED, WAITING
from virtio_trace.tracer.ftrace.confirm import (
    ONLY_ACCEPTED,
    ProbeStateTracker,
    armed_in,
    ring_losses,
)
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target

POINTS = {point.name: point for point in table.CORE_POINTS}
CORE = ResolvedProbe(POINTS["virtio_dev_probe"], Target("virtio_dev_probe", None))
AWAY = ResolvedProbe(POINTS["virtio_mmio_probe"], Target("virtio_mmio_probe", "virtio_mmio"))
LISTED = """\
ffffffffc0123450  k  virtio_mmio_probe+0x0  virtio_mmio [FTRACE]
ffffffffc0123450  r  virtio_mmio_probe+0x4  virtio_mmio
ffffffff81000000  k  virtio_dev_probe+0x0    [FTRACE]
ffffffff81000000  k  virtio_dev_probe+0x0    [DISABLED][FTRACE]
ffffffff81000010  r  virtio_dev_probe+0x40
"""


def event(kind: str, **more: object) -> Event:
    return Event(1, 1, 0, 1, "c", kind, **more)  # type: ignore[arg-type]


def test_only_enabled_probes_at_an_entry_are_armed() -> None:
    assert armed_in(LISTED) == {
        ("k", "virtio_mmio_probe", "virtio_mmio"): 1,
        ("r", "virtio_mmio_probe", "virtio_mmio"): 1,
        ("k", "virtio_dev_probe", None): 1,
    }


def test_a_probe_is_armed_if_the_list_has_its_entry_and_its_return() -> None:
    tracker = ProbeStateTracker([CORE, AWAY])
    tracker.confirm(armed_in(LISTED))
    tracker.armed_ns[1] = 7
    armed = tracker.state(1, missed=3)
    assert (armed.state, armed.missed, armed.armed_ns) == (ARMED, 3, 7)
    other = tracker.state(0)
    assert (other.state, other.reason) == (NOT_ARMED, ONLY_ACCEPTED)
    tracker.confirm({}, [0])
    assert tracker.state(0).state == ARMED


def test_two_recorders_of_one_function_need_two_lines() -> None:
    tracker = ProbeStateTracker([AWAY, AWAY])
    tracker.loaded.add("virtio_mmio")
    tracker.confirm(armed_in(LISTED))
    assert {tracker.state(number).state for number in (0, 1)} == {NOT_ARMED}
    tracker.refused[0] = "no"
    tracker.confirm(armed_in(LISTED))
    assert [tracker.state(number).state for number in (0, 1)] == [NOT_ARMED, ARMED]
    assert tracker.state(0).reason == "no"


def test_a_probe_waits_for_its_module() -> None:
    tracker = ProbeStateTracker([AWAY])
    assert tracker.state(0).state == WAITING
    assert tracker.follow(event(MODULE, module="virtio_mmio"))
    assert tracker.state(0).state == NOT_ARMED
    init = {"probe": "do_init_module", "detail": Detail(name="virtio_mmio")}
    assert not tracker.follow(event(ENTRY, **init))
    assert not tracker.follow(event(RETURN, result=0, **init))
    assert tracker.loaded == {"virtio_mmio"}
    assert not tracker.follow(event(RETURN, result=-19, **init))
    assert tracker.state(0).state == WAITING


def test_losses_of_all_kinds_are_added() -> None:
    stats = """\
entries: 40
overrun: 5
commit overrun: 1
bytes: 2660
oldest event ts:  0.499
dropped events: 20
read events: 8
cpu1 overrun: 100
cpu12 dropped events: 1000
cpu1 entries: 9
"""
    assert ring_losses(stats.splitlines()) == 1126
