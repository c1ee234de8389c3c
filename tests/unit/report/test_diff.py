# SPDX-License-Identifier: GPL-2.0-or-later
"""Differences between real recordings, and between those and recordings derived from them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, Line, change, dump, golden, move, remove
from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE
from virtio_trace.recording import reader
from virtio_trace.report.diff import baseline
from virtio_trace.report.diff.compare import compare, outcomes
from virtio_trace.report.diff.model import KINDS, Diff, Difference
from virtio_trace.report.seen import seen

NET, DISK, RNG = (f"0000:00:{slot:02x}.0" for slot in range(2, 5))
ALL = sorted(path.stem for path in GOLDEN.glob("*.vtr"))
WHOLE = sorted({*ALL} - {"debian-6.1-lossy", "debian-6.12-overrun"})


def diff(old: list[Line], new: list[Line], ratio: float | None = None, **more: Any) -> Diff:
    shown = []
    for name, lines in (("old", old), ("new", new)):
        recording = reader.read(dump(lines), name)
        shown.append((name, seen(recording), outcomes(verdict.judge(recording))))
    return compare(shown[0], shown[1], ratio, **more)


def kinds(found: Diff) -> set[tuple[str, str]]:
    return {(one.kind, one.subject) for one in found.differences}


def only(found: Diff) -> Difference:
    (one,) = found.differences
    assert found.same is False
    return one


@pytest.fixture
def boot() -> list[Line]:
    return golden("debian-6.1")


def each(lines: list[Line], **members: Any) -> list[Line]:
    return [{**line, **members} if "seq" in line else line for line in lines]


@pytest.mark.parametrize("name", WHOLE)
def test_a_recording_is_the_same_as_itself(name: str) -> None:
    found = diff(golden(name), golden(name))
    assert (found.differences, found.unknown, found.same) == ([], [], True)


@pytest.mark.parametrize("name", sorted({*ALL} - {*WHOLE}))
def test_what_was_lost_is_unknown(name: str) -> None:
    found = diff(golden(name), golden(name))
    assert found.differences == []
    assert found.same is None
    assert {one.message.split(":")[0] for one in found.unknown} == {"OLD", "NEW"}


def renamed(line: Line, indexes: dict[int, int]) -> Line:
    device = line.get("device")
    if device is None or device.get("index") is None:
        return line
    return {**line, "device": {**device, "index": indexes[device["index"]]}}


def test_scheduling_is_no_difference(boot: list[Line]) -> None:
    """Other CPUs, threads, names and times; the devices are registered in another order."""
    other = each(boot, cpu=7)
    header, events, trailer = other[0], other[1:-1], other[-1]
    tids = {event["tid"] for event in events}
    events = [{**event, "tid": 9000 + sorted(tids).index(event["tid"])} for event in events]
    events = [renamed(event, {0: 2, 1: 0, 2: 1}) for event in events]
    assert diff(boot, [header, *events, trailer]).same is True


def test_the_order_of_two_devices_is_no_difference() -> None:
    """One is probed before the other, or after it."""
    boot = golden("debian-6.1")
    mine = [
        line["seq"] for line in boot
        if line.get("device", {}).get("address") == NET and line.get("probe") != "virtio_dev_match"
    ]  # fmt: skip
    bound = [n for n in mine if n >= at_seq(boot, "virtio_dev_probe", NET)]
    moved = move(boot, lambda line: line["seq"] in bound, lambda line: line["seq"] > bound[-1])
    assert [line.get("probe") for line in moved] != [line.get("probe") for line in boot]
    assert diff(boot, moved).same is True


def at_seq(lines: list[Line], probe: str, address: str) -> int:
    return next(
        int(line["seq"]) for line in lines
        if line.get("probe") == probe and line["device"]["address"] == address
    )  # fmt: skip


def of(address: str, probe: str, kind: str | None = None) -> Any:
    def where(line: Line) -> bool:
        about = line.get("device", {}).get("address") == address
        return about and line["probe"] == probe and kind in (None, line["kind"])

    return where


def test_another_function_is_said_to_be_one(boot: list[Line]) -> None:
    found = diff(boot, change(boot, of(NET, "find_vqs"), function="vp_new_find_vqs"))
    one = only(found)
    assert (one.kind, one.subject, one.old, one.new) == (
        "functions", NET, ["vp_find_vqs"], ["vp_new_find_vqs"],
    )  # fmt: skip
    assert one.message == "find_vqs: the function was vp_find_vqs, is now vp_new_find_vqs"


def test_built_in_is_the_same_function(boot: list[Line]) -> None:
    new = [
        {name: value for name, value in line.items() if name != "module"}
        if "seq" in line and of(NET, "find_vqs")(line)
        else line
        for line in boot
    ]
    assert new != boot
    assert diff(boot, new).same is True


def test_a_status_that_was_not_written_is_named(boot: list[Line]) -> None:
    new = remove(boot, lambda e: of(RNG, "set_status")(e) and e["detail"]["status"] == 11)
    found = diff(boot, new)
    assert ("status", RNG) in kinds(found)
    one = next(one for one in found.differences if one.kind == "status")
    assert one.old[1].split("|") == ["ACKNOWLEDGE", "DRIVER", "FEATURES_OK"]
    assert len(one.new) == len(one.old) - 1
    assert one.new_seqs


def test_the_order_of_calls_in_a_probe_is_compared(boot: list[Line]) -> None:
    new = move(boot, of(RNG, "get_features"), of(RNG, "virtio_features_ok"))
    found = diff(boot, new)
    one = next(one for one in found.differences if one.kind == "order")
    assert (one.subject, one.message[:24]) == (RNG, "order of calls in probe ")
    assert sorted(one.old) == sorted(one.new)


def test_a_queue_with_another_size_and_vector_is_named(boot: list[Line]) -> None:
    def resized(line: Line) -> Line:
        if not of(RNG, "setup_vq")(line) or "detail" not in line:
            return line
        detail = {**line["detail"]}
        if "size" in detail:
            detail["size"] = 8
        if "vector" in detail:
            detail["vector"] = 9
        return {**line, "detail": detail}

    new = [resized(line) if "seq" in line else line for line in boot]
    one = next(one for one in diff(boot, new).differences if one.kind == "queues")
    assert (one.subject, one.what) == (RNG, "virtqueue 0")
    assert one.new == "input of size 8 with vector 9"
    assert one.old != one.new


def test_other_features_are_named() -> None:
    old = golden("debian-6.1")
    bits = next(e for e in old if of(NET, "get_features")(e))["detail"]["features"]
    without = hex(int(bits, 16) & ~(1 << 15))
    new = change(old, of(NET, "get_features"), detail={"features": without})
    found = [one for one in diff(old, new).differences if one.kind == "features"]
    assert found[0].what == "offered by the device"
    assert (found[0].old, found[0].new) == (["VIRTIO_NET_F_MRG_RXBUF"], [])
    assert found[0].message == "offered by the device: no more VIRTIO_NET_F_MRG_RXBUF"


def test_a_device_in_one_alone_is_named(boot: list[Line]) -> None:
    found = diff(boot, golden("debian-6.1-rebind"))
    assert {"device", "driver"} & {one.kind for one in found.differences}
    assert {one.kind for one in found.differences} <= {*KINDS}
    order = [KINDS.index(one.kind) for one in found.differences]
    assert order == sorted(order)


def moved_to(lines: list[Line], old: str, new: str) -> list[Line]:
    return [json.loads(json.dumps(line).replace(old, new)) for line in lines]


def test_a_device_at_another_address_has_moved(boot: list[Line]) -> None:
    one = only(diff(boot, moved_to(boot, RNG, "0000:00:0a.0")))
    assert (one.kind, one.subject, one.what) == ("device", "0000:00:0a.0", "address")
    assert one.message == f"address was {RNG}, is 0000:00:0a.0"


def test_a_device_that_did_not_bind_has_another_result(boot: list[Line]) -> None:
    new = change(boot, of(RNG, "virtio_dev_probe", "return"), result=-22)
    found = diff(boot, new)
    said = {one.what: one.message for one in found.differences}
    assert said["state"] == "state was bound, is failed"
    assert said["result"] == "result was 0, is -22 (EINVAL)"
    assert ("steps", RNG) in kinds(found)


def test_times_are_compared_only_on_request(boot: list[Line]) -> None:
    slow = change(boot, of(DISK, "virtio_dev_probe", "return"), duration_ns=900_000_000_000)
    assert diff(boot, slow).same is True
    one = only(diff(boot, slow, ratio=10))
    assert (one.kind, one.subject, one.what) == ("time", DISK, "virtio_dev_probe")
    assert diff(slow, boot, ratio=10).same is True, "faster is no difference"


def test_a_deferred_probe_that_came_later_is_no_difference(boot: list[Line]) -> None:
    """The kernel tries again: how often depends on who comes first."""
    recording = reader.read(dump(boot), "old")
    shown, steps = seen(recording), outcomes(verdict.judge(recording))
    device = shown.devices[0]
    deferred = replace(device.attempts[0], result=-517)
    again = replace(device, attempts=(deferred, deferred, *device.attempts))
    other = replace(shown, devices=[again, *shown.devices[1:]])
    assert compare(("a", shown, steps), ("b", other, steps)).same is True
    last = replace(device, attempts=(deferred,))
    other = replace(shown, devices=[last, *shown.devices[1:]])
    assert compare(("a", shown, steps), ("b", other, steps)).same is False


def test_a_probe_point_that_one_kernel_lacks_is_not_compared(boot: list[Line]) -> None:
    probe = "virtio_features_ok"
    new = remove(boot, lambda line: line.get("probe") == probe)

    def absent(states: list[Line]) -> list[Line]:
        return [{**s, "state": "absent"} if s["probe"] == probe else s for s in states]

    without = [
        {**line, "probes": absent(line["probes"])} if "probes" in line else line for line in new
    ]
    assert [one for one in diff(boot, new).differences if one.kind == "order"]
    assert [one for one in diff(boot, without).differences if one.kind == "order"] == []


def test_the_baseline_has_a_step_for_each_kind(boot: list[Line]) -> None:
    def after(old: list[Line], new: list[Line]) -> Any:
        recording = reader.read(dump(new), "new")
        result = verdict.judge(recording)
        found = diff(old, new, called=("the baseline", "this recording"))
        baseline.judge(found, recording.last_seq).apply(result)
        return result

    result = after(boot, boot)
    own = [step for step in result.steps if step.id.startswith("baseline-")]
    assert len({(step.id, step.subject) for step in own}) == len(own)
    assert {step.id.removeprefix("baseline-") for step in own} == {*KINDS} - {"time"}
    assert {step.ok for step in own} == {True}
    assert result.verdict == CONFORMS
    result = after(boot, change(boot, of(NET, "find_vqs"), function="vp_new_find_vqs"))
    assert [(s.id, s.subject) for s in result.steps if s.ok is False] == [
        ("baseline-functions", NET)
    ]
    assert result.verdict == DEVIATES
    result = after(golden("debian-6.1-lossy"), boot)
    assert any(f.message.startswith("the baseline: ") for f in result.findings)
    assert not any(f.message.startswith("this recording: ") for f in result.findings)
    assert result.verdict in (INCOMPLETE, DEVIATES)
