# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding the ring buffer: numbers, losses, descriptions, pairing of returns."""

from __future__ import annotations

from typing import Any

import pytest

from virtio_trace.recording.events import Detail, Event
from virtio_trace.tracer.bpf import decoder, wire
from virtio_trace.tracer.bpf.decoder import Armed, RingDecoder
from virtio_trace.tracer.points.table import CORE_POINTS, NEGOTIATION_POINTS

ALL = (*CORE_POINTS, *NEGOTIATION_POINTS)
POINTS = {point.name: number for number, point in reversed(list(enumerate(ALL)))}
ARMED = [Armed(point, point.symbols[-1], point.module) for point in ALL]

DEVICE, DRIVER = 0xFFFF888012345000, 0xFFFFFFFFC0123400
STACK = 0xFFFFC90000013000

STRUCTS: dict[int, type[Any]] = {
    wire.KIND_ENTRY: wire.WireEntered,
    wire.KIND_ENTRY_NAMED: wire.WireNamed,
    wire.KIND_RETURN: wire.WireReturned,
    wire.KIND_RETURN_KEPT: wire.WireReturnedKept,
    wire.KIND_MODULE: wire.WireModule,
}


class Ring(RingDecoder):
    """A decoder that is given the ring's bytes."""

    def __init__(self) -> None:
        super().__init__(ARMED)

    def record(self, kind: int, probe: str = "virtio_dev_probe", **members: Any) -> Event:
        """Decodes a record with MEMBERS, wherever in its struct they are."""
        has = members.pop("has", 0)
        for name, flag in (("comm", wire.HAS_COMM), ("lost", wire.HAS_LOST)):
            has |= flag if name in members else 0
        raw = STRUCTS[kind]()
        members = {"tid": 7, "stack": STACK, **members, "kind": kind, "has": has}
        for name, value in {**members, "probe": POINTS[probe]}.items():
            part: Any = raw
            while not hasattr(part, name):  # a struct begins with what it extends
                part = getattr(part, part._fields_[0][0])
            setattr(part, name, value)
        found = self.decode(bytes(raw))
        assert found is not None
        return found

    def entry(self, **members: Any) -> Event:
        kind = wire.KIND_ENTRY_NAMED if "name" in members else wire.KIND_ENTRY
        return self.record(kind, **members)

    def ret(self, **members: Any) -> Event:
        kept = {"device", "entered_ns"} & members.keys()
        kind = wire.KIND_RETURN_KEPT if kept else wire.KIND_RETURN
        return self.record(kind, **{"stack": STACK + 8, **members})

    def device(self, address: bytes, key: int = DEVICE, **members: Any) -> None:
        raw = wire.WireDevice(
            kind=wire.KIND_KNOWN_DEVICE, key=key, address=address, bus=b"pci", **members
        )
        assert self.decode(bytes(raw)) is None

    def driver(self, name: bytes, key: int = DRIVER, bits: Any = None, **members: Any) -> None:
        raw = wire.WireDriver(kind=wire.KIND_KNOWN_DRIVER, key=key, name=name, **members)
        if bits is not None:
            raw.has, raw.length = wire.HAS_TABLE, len(bits)
            raw.bits[: min(len(bits), 63)] = bits[:63]
        assert self.decode(bytes(raw)) is None


def address(event: Event) -> str | None:
    return event.device.address if event.device else None


# -- numbers


def test_numbers_skip_lost_events() -> None:
    ring = Ring()
    seqs = [ring.entry(lost=lost).seq for lost in (0, 0, 3, 2, 3, 4)]
    # The fourth event's CPU read the counter late: the numbers never go back.
    assert seqs == [1, 2, 6, 7, 8, 10]


def test_a_description_has_no_number() -> None:
    ring = Ring()
    first = ring.entry().seq
    ring.device(b"0000:00:02.0")
    ring.driver(b"virtio_net")
    assert (first, ring.entry().seq) == (1, 2)


# -- descriptions


def test_an_event_has_the_device_and_driver_at_its_addresses() -> None:
    ring = Ring()
    ring.device(b"0000:00:02.0", device=1, vendor=6900, index=3, has=wire.HAS_ID | wire.HAS_INDEX)
    ring.device(b"0000:00:03.0", key=DEVICE + 8)
    ring.driver(b"virtio_net")
    event = ring.entry(device=DEVICE, driver=DRIVER)
    assert event.device is not None
    ref = event.device
    assert (ref.address, ref.bus, ref.id, ref.vendor, ref.index) == (
        "0000:00:02.0", "pci", 1, 6900, 3,
    )  # fmt: skip
    assert event.driver == "virtio_net"
    other = ring.entry(device=DEVICE + 8).device
    assert other is not None
    assert (other.address, other.id, other.index, other.pci_vendor) == (
        "0000:00:03.0", None, None, None,
    )  # fmt: skip
    nothing = ring.entry()
    assert (nothing.device, nothing.driver) == (None, None)


def test_a_reused_address_has_the_last_description() -> None:
    ring = Ring()
    seen = []
    for name in (b"0000:00:02.0", b"0000:00:09.0"):
        ring.device(name)
        ring.driver(b"of " + name)
        event = ring.entry(device=DEVICE, driver=DRIVER)
        seen.append((address(event), event.driver))
    assert seen == [("0000:00:02.0", "of 0000:00:02.0"), ("0000:00:09.0", "of 0000:00:09.0")]


def test_no_kernel_address_is_in_an_event() -> None:
    ring = Ring()
    ring.device(b"0000:00:02.0")
    ring.driver(b"virtio_net", bits=[1])
    for event in (ring.entry(device=DEVICE, driver=DRIVER), ring.ret(result=0)):
        text = str(event.to_json())
        for number in (DEVICE, DRIVER, STACK, STACK + 8):
            assert str(number) not in text and f"{number:x}" not in text


def test_an_event_has_its_drivers_tables() -> None:
    ring = Ring()
    ring.driver(b"virtio_net", bits=[0, 1, 5, 32])
    ring.driver(b"long", key=DRIVER + 64, bits=range(64))
    hit = ring.entry(probe="driver_features", driver=DRIVER)
    assert (hit.kind, hit.detail) == ("hit", Detail(features="0x100000023", legacy="0x100000023"))
    long = ring.entry(probe="driver_features", driver=DRIVER + 64)
    assert long.detail == Detail()
    assert ring.entry(driver=DRIVER).detail is None


# -- returns


def test_a_return_has_the_device_and_driver_of_its_entry() -> None:
    ring = Ring()
    ring.device(b"0000:00:02.0")
    ring.driver(b"virtio_net")
    ring.entry(device=DEVICE, driver=DRIVER, ns=100)
    event = ring.ret(result=-22 & 0xFFFFFFFF, ns=105)
    assert (address(event), event.driver) == ("0000:00:02.0", "virtio_net")
    assert (event.result, event.duration_ns) == (-22, 5)


def test_a_return_keeps_its_own_device() -> None:
    ring = Ring()
    ring.device(b"0000:00:02.0")
    ring.entry(probe="register_virtio_device", device=DEVICE, ns=100)
    ring.device(b"0000:00:02.0", index=5, has=wire.HAS_INDEX)
    event = ring.ret(probe="register_virtio_device", device=DEVICE, ns=300, entered_ns=99)
    assert event.device is not None and event.device.index == 5
    assert event.duration_ns == 200


def test_a_return_may_have_the_stack_pointer_of_its_entry() -> None:
    """On arm64, which keeps the return address in a register."""
    ring = Ring()
    ring.entry(ns=1)
    assert ring.ret(ns=3, stack=STACK).duration_ns == 2


def test_a_return_before_its_entry_has_no_duration() -> None:
    """A guest may send any times."""
    ring = Ring()
    ring.entry(ns=5, stack=STACK)
    assert ring.ret(ns=3, stack=STACK).duration_ns is None


def test_recursive_calls() -> None:
    ring = Ring()
    for depth, name in enumerate((b"outer", b"inner")):
        ring.device(name, key=DEVICE + depth)
        ring.entry(device=DEVICE + depth, stack=STACK - 64 * depth)
    found = [ring.ret(stack=STACK - 64 * depth + 8) for depth in (1, 0)]
    assert list(map(address, found)) == ["inner", "outer"]


def test_threads_do_not_mix() -> None:
    ring = Ring()
    ring.device(b"one")
    ring.entry(tid=1, device=DEVICE)
    ring.entry(tid=2)
    assert address(ring.ret(tid=1)) == "one"
    assert address(ring.ret(tid=2)) is None


def test_a_return_without_entry_does_not_take_another_calls() -> None:
    ring = Ring()
    ring.device(b"mine")
    ring.entry(device=DEVICE, ns=1)
    stranger = ring.ret(stack=STACK - 248, ns=5)
    assert (stranger.device, stranger.duration_ns) == (None, None)
    mine = ring.ret(ns=9)
    assert (address(mine), mine.duration_ns) == ("mine", 8)


def test_an_entry_without_return_is_not_used_for_another_call() -> None:
    ring = Ring()
    ring.device(b"older")
    ring.device(b"newer", key=DEVICE + 8)
    ring.entry(device=DEVICE, stack=STACK - 64)
    ring.entry(device=DEVICE + 8)
    assert address(ring.ret()) == "newer"
    assert address(ring.ret(stack=STACK - 56)) is None


def test_a_call_is_unknown_if_its_probe_point_lost_events_meanwhile() -> None:
    """They may be its return and the entry of the next call, with the same stack pointer."""
    ring = Ring()
    ring.device(b"older")
    ring.entry(device=DEVICE, ns=100)
    late = ring.ret(ns=500, lost=2, lost_here=2)
    assert (late.device, late.duration_ns) == (None, None)


def test_a_call_is_known_if_other_probe_points_lost_events_meanwhile() -> None:
    ring = Ring()
    ring.device(b"mine")
    ring.entry(device=DEVICE, ns=100)
    mine = ring.ret(ns=500, lost=2)
    assert (address(mine), mine.duration_ns) == ("mine", 400)


def test_a_new_virtqueues_size_comes_with_its_name() -> None:
    ring = Ring()
    seen = wire.HAS_QUEUE | wire.HAS_VECTOR
    ring.entry(probe="setup_vq", queue_index=2, vector=1, has=seen, name=b"input.1")
    event = ring.ret(probe="setup_vq", queue_size=256, has=wire.HAS_SIZE)
    assert event.detail == Detail(queue=2, name="input.1", size=256)


def test_a_failed_virtqueue_has_its_name() -> None:
    ring = Ring()
    ring.entry(probe="setup_vq", queue_index=2, has=wire.HAS_QUEUE, name=b"input.1")
    assert ring.ret(probe="setup_vq").detail == Detail(queue=2, name="input.1")


def test_offered_features_are_a_hit_with_a_duration() -> None:
    ring = Ring()
    ring.device(b"0000:00:02.0")
    event = ring.ret(
        probe="get_features", device=DEVICE, ns=9, entered_ns=4, result=3, has=wire.HAS_FEATURES,
        features=(3, 1),
    )  # fmt: skip
    assert (event.kind, event.result, event.duration_ns) == ("hit", None, 5)
    assert event.detail == Detail(features="0x10000000000000003")


def test_a_void_function_has_no_result() -> None:
    ring = Ring()
    assert ring.ret(probe="virtio_dev_remove", result=123).result is None


def test_modules() -> None:
    ring = Ring()
    assert ring.record(wire.KIND_MODULE, name=b"virtio_net").module == "virtio_net"
    assert ring.entry(probe="do_init_module", name=b"virtio_net").detail == Detail(
        name="virtio_net"
    )
    ended = ring.ret(probe="do_init_module", result=-19 & 0xFFFFFFFF)
    assert (ended.detail, ended.result) == (Detail(name="virtio_net"), -19)


def test_names_that_are_not_utf8_are_kept() -> None:
    event = Ring().record(wire.KIND_MODULE, name=b"a\xff\x1b", comm=b"x\xe9")
    assert (event.module, event.comm) == ("a\\xff\x1b", "x\\xe9")


# -- what an event leaves out


def test_a_comm_holds_until_the_threads_next() -> None:
    ring = Ring()
    seen = [
        ring.entry(comm=b"modprobe").comm,
        ring.entry(tid=8, comm=b"sh").comm,
        ring.entry(probe="setup_vq", stack=STACK - 64, name=b"input.0").comm,
        ring.ret().comm,
        ring.ret(tid=8, comm=b"bash").comm,
        ring.entry(tid=8).comm,
        ring.ret(tid=9).comm,
    ]
    assert seen == ["modprobe", "sh", "modprobe", "modprobe", "bash", "bash", ""]


def test_what_a_record_does_not_announce_has_no_meaning() -> None:
    """The program does not clear what it does not fill in."""
    ring = Ring()
    ring.entry(comm=b"sh")
    raw = wire.WireEntered.from_buffer_copy(b"\xff" * 256)
    raw.event.kind, raw.event.probe, raw.event.has = wire.KIND_ENTRY, POINTS["set_status"], 0
    raw.event.tid, raw.event.ns, raw.device, raw.driver = 7, 1, 0, 0
    event = ring.decode(bytes(raw))
    assert event is not None
    assert (event.seq, event.comm, event.detail) == (2, "sh", None)
    back = wire.WireReturned.from_buffer_copy(b"\xff" * 256)
    back.event.kind, back.event.probe, back.event.has = wire.KIND_RETURN, POINTS["setup_vq"], 0
    back.event.tid, back.event.ns = 7, 2
    event = ring.decode(bytes(back))
    assert event is not None
    assert (event.seq, event.comm, event.detail) == (3, "sh", None)


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 9"):
        Ring().decode((9).to_bytes(4, "little") + bytes(200))


def test_after_records_that_did_not_arrive_nothing_is_guessed() -> None:
    ring = Ring()
    ring.device(b"0000:00:02.0")
    ring.driver(b"virtio_net")
    ring.entry(device=DEVICE, driver=DRIVER, comm=b"sh")
    ring.skip(3)
    late = ring.ret()
    assert (late.seq, late.device, late.comm, late.duration_ns) == (5, None, "", None)
    other = ring.entry(device=DEVICE, driver=DRIVER)
    assert (other.seq, other.device, other.driver) == (6, None, None)


# -- a guest's records: no program sends these


@pytest.mark.parametrize("members", [{"ns": 1 << 63}, {"lost": (1 << 60) + 1}])
def test_a_number_that_cannot_be_is_refused_and_takes_no_place(members: dict[str, int]) -> None:
    ring = Ring()
    with pytest.raises(ValueError, match="a number that cannot be"):
        ring.entry(**members)
    assert ring.entry().seq == 1


def test_a_probe_that_is_not_there_is_no_hit() -> None:
    ring = Ring()
    with pytest.raises(LookupError):
        event = wire.WireEvent(kind=wire.KIND_ENTRY, probe=100_000)
        ring.decode(bytes(wire.WireEntered(event=event)))
    assert ring.hit == set()


def test_what_is_kept_is_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_MOST_KNOWN", 10)
    monkeypatch.setattr(decoder, "_MOST_NESTED", 5)
    ring = Ring()
    for number in range(30):
        ring.device(b"0000:00:%02x.0" % number, key=DEVICE + number)
        ring.driver(b"d%d" % number, key=DRIVER + number)
        ring.entry(tid=number)
        ring.entry(tid=99, stack=STACK - 64 * number)
    assert list(ring._devices) == [DEVICE + number for number in range(20, 30)]
    assert len(ring._drivers) == len(ring._open) == 10
    assert len(ring._open[99, POINTS["virtio_dev_probe"]]) <= 5
    assert address(ring.entry(device=DEVICE + 29)) == "0000:00:1d.0"


def test_records_that_the_wire_lost_are_counted_to_a_bound() -> None:
    ring = Ring()
    for _ in range(10):
        ring.skip(decoder.MOST_LOST)
    assert ring.entry().seq == decoder.MOST_LOST + 1
