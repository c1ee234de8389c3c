# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes of the ring buffer to Events: numbers, losses, pairing of returns."""

from __future__ import annotations

from typing import Any

from virtio_trace.tracer import wire
from virtio_trace.tracer.collector import Armed, Collector
from virtio_trace.tracer.probes import TABLE

POINTS = {point.name: number for number, point in enumerate(TABLE)}
ARMED = [Armed(point, point.symbols[-1], point.module) for point in TABLE]


def record(kind: int, probe: str = "virtio_dev_probe", **members: Any) -> bytes:
    members.setdefault("tid", 7)
    return bytes(wire.WireEvent(kind=kind, probe=POINTS[probe], **members))


def entry(**members: Any) -> bytes:
    return record(wire.KIND_ENTRY, **members)


def ret(**members: Any) -> bytes:
    members.setdefault("has", wire.HAS_DURATION)
    return record(wire.KIND_RETURN, **members)


def test_numbers_skip_what_was_lost() -> None:
    collector = Collector(ARMED)
    seqs = [collector.event(entry(lost=lost)).seq for lost in (0, 0, 3, 2, 3, 4)]
    # The fifth CPU read the counter before the fourth: never back, and five were kept.
    assert seqs == [1, 2, 6, 7, 8, 10]


def test_a_return_has_the_device_and_driver_of_its_entry() -> None:
    collector = Collector(ARMED)
    about = {"address": b"0000:00:02.0", "bus": b"pci", "name": b"virtio_net", "device": 1}
    collector.event(entry(**about, vendor=6900, has=wire.HAS_ID))
    event = collector.event(ret(result=-22 & 0xFFFFFFFF, duration_ns=5))
    assert event.device is not None
    assert (event.device.address, event.device.id) == ("0000:00:02.0", 1)
    assert (event.driver, event.result, event.duration_ns) == ("virtio_net", -22, 5)


def test_calls_of_one_function_inside_itself() -> None:
    collector = Collector(ARMED)
    for address in (b"outer", b"inner"):
        collector.event(entry(address=address))
    found = [collector.event(ret()).device for _ in range(2)]
    assert [ref.address for ref in found if ref] == ["inner", "outer"]


def test_threads_do_not_mix() -> None:
    collector = Collector(ARMED)
    collector.event(entry(tid=1, address=b"one"))
    collector.event(entry(tid=2, address=b"two"))
    first = collector.event(ret(tid=1)).device
    assert first is not None and first.address == "one"


def test_a_return_whose_entry_was_never_seen_takes_no_other_ones() -> None:
    collector = Collector(ARMED)
    collector.event(entry(address=b"mine"))
    stranger = collector.event(ret(has=0))
    assert stranger.device is None and stranger.duration_ns is None
    mine = collector.event(ret())
    assert mine.device is not None and mine.device.address == "mine"


def test_a_return_whose_entry_found_no_room_takes_no_older_ones() -> None:
    collector = Collector(ARMED)
    collector.event(entry(ns=100, address=b"older"))
    late = collector.event(ret(ns=500, duration_ns=300, lost=2))
    assert late.device is None and late.duration_ns == 300
    older = collector.event(ret(ns=600, duration_ns=505, lost=2)).device
    assert older is not None and older.address == "older"


def test_a_function_without_a_result_has_none() -> None:
    collector = Collector(ARMED)
    event = collector.event(ret(probe="virtio_dev_remove", result=123))
    assert event.result is None


def test_names_that_are_no_utf8_come_through() -> None:
    event = Collector(ARMED).event(record(wire.KIND_MODULE, name=b"a\xff\x1b", comm=b"x\xe9"))
    assert (event.module, event.comm) == ("a\\xff\x1b", "x\\xe9")
