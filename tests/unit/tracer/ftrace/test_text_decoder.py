# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding the trace ring's text: of real boots (tests/golden/ring-*.txt), and damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN
from tests.unit.tracer.ftrace.test_fetchargs import LINUX_6_1, LINUX_7_3
from virtio_trace.recording.events import Detail, DeviceRef, Event
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.definitions import Definition, definitions
from virtio_trace.tracer.ftrace.text_decoder import TextDecoder
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target

STEXT = {
    "6.12": {9061744: "set_status", 9068784: "set_status", 9059904: "reset", 9068832: "reset",
             9058944: "get_features", 9068736: "get_features"},
    "7.2": {14171856: "set_status", 14179824: "set_status", 14164992: "reset", 14179872: "reset",
            14164064: "get_features", 14179776: "get_features"},
}  # fmt: skip
OFFSETS = {
    "6.12": LINUX_6_1 | {"pci_dev_dev": 200, "virtio_device_id": 776, "virtio_device_vendor": 780,
                         "virtio_device_config": 784, "virtio_device_features": 816},
    "7.2": LINUX_7_3,
}  # fmt: skip
POINTS = {point.name: point for point in (*table.NEGOTIATION_POINTS[::-1], *table.CORE_POINTS)}
RING = [
    f"modprobe-7  [001] .....  1.00000{n}: {rest}\n"
    for n, rest in enumerate(
        (
            'r: (f+0x0/0x9) v=0x20 a="0000:00:02.0" b="pci" d=0x1af400000001',
            "s: (f+0x0/0x9) v=0x20 i=0x700000003 s=0x1001 f=0x5",
            "R: (f <- g) x=0",
            'p: (f+0x0/0x9) v=0x30 r="virtio_net"',
            "s: (f+0x0/0x9) v=0x20 i=0x3 s=0x83 f=0x5",
            "P: (f <- g) x=0xffffffea",
            "s: (f+0x0/0x9) v=0x20 i=0x3 s=0x1 f=0x5",
        )
    )
]


def ring_definitions(kernel: str) -> list[Definition]:
    """Those of a ring's kernel, under their names in the ring."""
    text = (GOLDEN / f"ring-{kernel}.txt").read_text("utf-8")
    events = cmdline.listed(text.replace("# ", ""))
    probes = [
        ResolvedProbe(POINTS[name], Target(POINTS[name].symbols[0], None, "_stext", offset))
        for offset, name in STEXT[kernel].items()
    ]
    probes += [
        ResolvedProbe(point, Target(point.symbols[0], None))
        for point in POINTS.values()
        if point.name not in STEXT[kernel].values()
    ]
    probes += [
        ResolvedProbe(
            table.of_driver(table.DRIVER_PROBE, name, "a driver", None), Target(name, None)
        )
        for name in ("virtcons_probe", "virtio_fs_probe")
    ]
    every = definitions(probes, OFFSETS[kernel], "x86_64", whole=False)
    found, foreign = cmdline.match(events, every)
    assert not foreign
    assert len(found) == len(events) > 30
    return found


def read(kernel: str) -> tuple[TextDecoder, list[Event]]:
    ring = TextDecoder(ring_definitions(kernel), OFFSETS[kernel])
    with (GOLDEN / f"ring-{kernel}.txt").open(encoding="utf-8") as file:
        return ring, ring.events(file)


def small(*names: str) -> TextDecoder:
    """A decoder for the points in RING."""
    probes = [
        ResolvedProbe(POINTS[name], Target(POINTS[name].symbols[0], None))
        for name in ("register_virtio_device", "set_status", "virtio_dev_probe", *names)
    ]
    return TextDecoder(definitions(probes, LINUX_6_1, "x86_64", whole=False), LINUX_6_1)


@pytest.mark.parametrize("kernel", STEXT)
def test_every_line_is_an_event_except_entries_that_make_none(kernel: str) -> None:
    ring, events = read(kernel)
    lines = sum(ring.hits.values())
    assert (ring.lost, ring.damaged) == (0, [])
    assert len(events) == lines - ring.hits["f"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.ns for event in events] == sorted(event.ns for event in events)


@pytest.mark.parametrize("kernel", STEXT)
def test_devices_by_their_addresses(kernel: str) -> None:
    """Resolved by the pointers in the events."""
    _ring, events = read(kernel)
    about = {e.probe: e for e in events if e.device and e.kind != "return"}
    without = {e.probe for e in events if e.device is None}
    assert without == {None, "register_virtio_driver"}
    rng = DeviceRef("0000:00:04.0", "pci", index=2, id=4, vendor=0x1AF4)
    assert about["virtio_dev_probe"].device == about["find_vqs"].device == rng
    registered = [e.device for e in events if e.probe == "register_virtio_device"]
    assert registered[1] == DeviceRef("0000:00:02.0", "pci", index=0, id=1, vendor=0x1AF4)
    assert registered[0] == replace(registered[1], index=None)
    (first, *_rest) = [e.device for e in events if e.probe == "virtio_pci_probe"]
    assert first == DeviceRef("0000:00:02.0", "pci", pci_vendor=0x1AF4, pci_device=0x1000)


# On 7.2's command line there was no room for the driver's table.
@pytest.mark.parametrize(("kernel", "table"), [("6.12", "0xdbf4000000efffaf"), ("7.2", None)])
def test_the_negotiation_of_the_network_card(kernel: str, table: str | None) -> None:
    """As QMP and sysfs show it: offered, wanted and negotiated features; queues; status."""
    _ring, events = read(kernel)
    net = [e for e in events if e.device and e.device.index == 0 and e.detail]
    found: dict[str, Any] = {e.probe or "": e.detail for e in net}
    assert found["get_features"].features == "0x10130bf8024"
    assert ("driver_features" in found) == (table is not None)
    assert table is None or found["driver_features"].features == table
    assert found["find_vqs"] == Detail(count=3)
    statuses = [e.detail for e in net if e.probe == "set_status"]
    assert [d.status for d in statuses if d] == [1, 3, 0xB, 0xF]
    assert statuses[-1] and statuses[-1].features == "0x10130af8024"
    queues = [e.detail for e in net if e.probe == "setup_vq"]
    assert [(q.queue, q.name, q.size, q.vector) for q in queues if q] == [
        (0, "input.0", None, 1), (0, "input.0", 256, None),
        (1, "output.0", None, 2), (1, "output.0", 256, None),
        (2, "control", None, 0xFFFF), (2, "control", 64, None),
    ]  # fmt: skip
    assert all(e.driver == "virtio_net" for e in net if e.probe in ("find_vqs", "setup_vq"))


def test_modules_have_their_events() -> None:
    _ring, events = read("7.2")
    modules = [event.module for event in events if event.kind == "module"]
    assert modules == ["virtio_net", "virtio_blk", "virtio_rng"]


def test_results_durations_and_what_a_return_shows_of_its_device() -> None:
    ring = small()
    events = ring.events(RING)
    assert [(e.kind, e.result, e.duration_ns) for e in events] == [
        ("entry", None, None), ("hit", None, None), ("return", 0, 2000),
        ("entry", None, None), ("hit", None, None), ("return", -22, 2000), ("hit", None, None),
    ]  # fmt: skip
    assert {e.device.address for e in events if e.device} == {"0000:00:02.0"}
    assert [e.device.index for e in events if e.device] == [None, 3, 3, 3, 3, 3, 3]
    assert events[1].detail == Detail(status=1, features="0x5")
    assert (events[0].ns, events[0].cpu, events[0].tid) == (1_000_000_000, 1, 7)


def test_a_device_has_its_driver_until_the_probe_fails() -> None:
    drivers = [event.driver for event in small().events(RING)]
    assert drivers == [None, None, None, "virtio_net", "virtio_net", "virtio_net", None]


def test_a_device_from_before_the_first_event_is_unknown() -> None:
    """Its pointer alone tells nothing."""
    events = small().events(RING[3:])
    assert [event.device for event in events] == [None] * 4


def test_lost_events_leave_a_gap() -> None:
    ring = small()
    events = ring.events([RING[0], "CPU:1 [LOST 5 EVENTS]\n", RING[1]])
    assert [event.seq for event in events] == [1, 7]
    assert ring.lost == 5


@pytest.mark.parametrize("size", range(1, len(RING[0])))
def test_a_line_that_was_cut_off_is_lost_and_never_half_read(size: int) -> None:
    ring = small()
    event = ring.event(RING[0][:size])
    if RING[0][:size].strip():
        assert event is None
        assert (ring.lost, len(ring.damaged)) == (1, 1)


@pytest.mark.parametrize(
    "rest",
    ["r: ", "r: (f+0x0/0x9)", 'r: (f+0x0/0x9) v=0x20 a="0000:00:02.0" b="pci"',
     'r: (f+0x0/0x9) v=zz a="0000:00:02.0" b="pci" d=0x1', "module_load: "],
)  # fmt: skip
def test_a_damaged_line_is_lost(rest: str) -> None:
    ring = small()
    assert ring.event(f"a-7 [001] ..... 1.000000: {rest}\n") is None
    assert ring.lost == 1


def test_other_tools_events_are_ignored() -> None:
    ring = small()
    lines = ["# tracer: nop\n", "\n", "a-7 [001] ..... 1.000000: tracing_mark_write: r: hello\n",
             "b-8 [000] ..... 1.000000: sched_switch: prev_comm=a prev_pid=1\n"]  # fmt: skip
    assert ring.events(lines) == []
    assert ring.lost == 0


@pytest.mark.parametrize(
    ("begin", "comm"),
    [("kworker/u2:1-events-1234", "kworker/u2:1-events"), ("a b [0]-12", "a b [0]"),
     ("<...>-12", "<...>"), ("systemd-1", "<...>"), ("<idle>-0", "<idle>"),
     ("modprobe-12    (     12)", "modprobe")],
)  # fmt: skip
def test_threads_and_their_names(begin: str, comm: str) -> None:
    """That of init is not used: the text always has its last one."""
    event = small().event(f"  {begin} [000] d..1. 1.000000: p: (f+0x4/0x9) v=0x30 r=(fault)\n")
    assert event is not None
    assert (event.comm, event.driver) == (comm, None)


def test_only_the_virtio_bus_makes_an_event() -> None:
    ring = small("bus_register")
    lines = ['b: (f) n="pci"', 'b: (f) n="virtio"', "B: (f <- g) x=0", "B: (f <- g) x=0"]
    events = ring.events(f"a-7 [001] ..... 1.00000{n}: {x}\n" for n, x in enumerate(lines))
    assert [(e.kind, e.duration_ns, e.driver) for e in events] == [
        ("entry", None, None), ("return", 1000, None),
    ]  # fmt: skip


def test_an_entry_that_describes_its_device_itself() -> None:
    """Definitions for a running kernel: no earlier event is needed."""
    probes = [ResolvedProbe(POINTS["set_status"], Target("vp_set_status", None))]
    ring = TextDecoder(definitions(probes, LINUX_6_1, "x86_64"), LINUX_6_1)
    line = (
        'a-7 [001] ..... 1.000000: s: (f+0x4/0x9) v=0x20 a="a003e00.virtio_mmio" b="platform" '
        'd=0x554d455100000002 h=0xff i=0x1 r="virtio_blk" s=0xf f=0x30\n'
    )
    event = ring.event(line)
    assert event is not None
    assert event.device == DeviceRef("a003e00.virtio_mmio", "platform", 1, 2, 0x554D4551)
    assert (event.driver, event.detail) == ("virtio_blk", Detail(status=15, features="0x30"))
    early = ring.event(line.replace("h=0xff", "h=0x0").replace('"virtio_blk"', "(fault)"))
    assert early is not None and early.device is not None
    assert (early.device.index, early.driver) == (None, None)
