# SPDX-License-Identifier: GPL-2.0-or-later
"""Real recordings held to boards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, at, change, dump, golden
from virtio_trace.check import named, verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, Result
from virtio_trace.recording import reader
from virtio_trace.report.board.assign import assign
from virtio_trace.report.board.judge import judge
from virtio_trace.report.board.model import Board, Expected
from virtio_trace.report.board.parse import parse
from virtio_trace.report.board.write import board_text
from virtio_trace.report.seen import Seen, SeenDevice, SeenQueue, seen

NET, DISK, RNG = (f"0000:00:{slot:02x}.0" for slot in range(2, 5))
ALL = sorted(path.stem for path in GOLDEN.glob("*.vtr"))


def shown(lines: list[dict[str, Any]]) -> Seen:
    return seen(reader.read(dump(lines), "test"))


@pytest.fixture(scope="module")
def boot() -> Seen:
    return shown(golden("debian-6.1"))


def steps(board: Board, found: Seen) -> dict[tuple[str, str], bool | None]:
    result = judge(board, found)
    assert len({(s.id, s.subject) for s in result.steps}) == len(result.steps)
    return {(s.id, s.subject): s.ok for s in result.steps}


def messages(board: Board, found: Seen) -> list[str]:
    return [finding.message for finding in judge(board, found).findings]


@pytest.mark.parametrize("name", ALL)
def test_a_recording_passes_the_board_that_was_written_from_it(name: str) -> None:
    found = shown(golden(name))
    board = parse(board_text(found).encode(), "written")
    assert board.only
    assert len(board.devices) == sum(device.is_there for device in found.devices)
    result = judge(board, found)
    assert [s for s in result.steps if s.ok is False] == []
    if found.has_all:
        assert [s for s in result.steps if s.ok is None] == []


def test_each_key_that_is_wrong_is_a_step_that_fails(boot: Seen) -> None:
    expected = Expected(
        NET, "block", 1, "virtio_blk", "pci-legacy", "bound", ("VIRTIO_NET_F_MQ",),
        ("VIRTIO_NET_F_MAC",), 4, 3, 0.001,
    )  # fmt: skip
    board = Board((expected,), True, ("5.*", "7.*"))
    found = steps(board, boot)
    assert [key for key, ok in found.items() if ok] == [("board-device", NET), ("board-state", NET)]
    failed = [key for key, ok in found.items() if ok is False]
    kinds = ("type", "transport", "driver", "features", "without", "queues", "vectors", "probe-ms")
    assert failed == [
        ("board-kernel", "virtio"),
        *((f"board-{kind}", NET) for kind in kinds),
        ("board-only", DISK),
        ("board-only", RNG),
    ]
    said = messages(board, boot)
    assert "not negotiated: VIRTIO_NET_F_MQ (the device does not offer it)" in said
    assert "the driver is virtio_net, not virtio_blk" in said
    assert all(finding.events for finding in judge(board, boot).findings)


def test_a_missing_device_is_an_error_only_if_that_is_proven(boot: Seen) -> None:
    board = Board((Expected("0000:00:09.0"), Expected(type="balloon")))
    wanted = {("board-device", "0000:00:09.0"): False, ("board-device", "balloon"): False}
    assert steps(board, boot) == wanted
    assert steps(board, replace(boot, has_all=False)) == dict.fromkeys(wanted)
    assert steps(Board((replace(board.devices[0], optional=True),)), boot) == {}


def test_a_device_that_did_not_bind_is_one_error() -> None:
    found = shown(golden("debian-6.1-failures"))
    device = next(one for one in found.devices if one.state == "failed")
    board = Board((Expected(device.address, driver="x", queues=1),))
    assert steps(board, found) == {
        ("board-device", device.address): True,
        ("board-state", device.address): False,
        ("board-driver", device.address): None,
        ("board-queues", device.address): None,
    }
    message = next(m for m in messages(board, found) if m.startswith("the device is failed"))
    assert device.reason is not None
    assert device.reason in message


def test_what_came_before_the_recording_is_unknown() -> None:
    found = shown(golden("debian-6.1-live"))
    before = next(one for one in found.devices if one.state == "bound" and not one.attempts)
    board = Board((Expected(before.address, driver=before.driver, queues=1, probe_ms=1e6),))
    kinds = {"device": True, "state": True, "driver": True, "queues": None, "probe-ms": None}
    assert steps(board, found) == {
        (f"board-{kind}", before.address): ok for kind, ok in kinds.items()
    }


def test_a_removed_device_is_not_there() -> None:
    found = shown(golden("debian-6.1-rebind"))
    gone, back = [one for one in found.devices if one.address == RNG]
    assert (gone.is_there, gone.nth, back.is_there, back.nth) == (False, 0, True, 1)
    board = Board((Expected(RNG),))
    assert steps(board, found)["board-device", RNG] is True
    left = [one for one in found.devices if one is not back]
    assert steps(board, replace(found, devices=left)) == {("board-device", RNG): False}
    (message,) = messages(board, replace(found, devices=left))
    assert message == f"no virtio device at {RNG}; removed: {RNG}"


def device(address: str, queues: int) -> SeenDevice:
    base = shown(golden("debian-6.1")).devices[0]
    made = tuple(SeenQueue(n, f"q{n}", 4, n + 1) for n in range(queues))
    return replace(base, address=address, attempts=(replace(base.attempts[0], queues=made),))


def test_devices_are_assigned_so_that_most_are_right() -> None:
    four, one = device("0000:00:02.0", 4), device("0000:00:03.0", 1)
    any_net, with_four = Expected(type="net"), Expected(type="net", queues=4)
    for board in (Board((any_net, with_four)), Board((with_four, any_net))):
        assigned = dict(zip(board.devices, assign(board, [four, one]), strict=True))
        assert assigned == {any_net: [one], with_four: [four]}
    addressed = Expected("0000:00:02.0")
    board = Board((with_four, addressed))
    assert assign(board, [four, one]) == [[one], [four]]


def test_an_optional_device_comes_last() -> None:
    one = device("0000:00:02.0", 1)
    board = Board((Expected(type="net", optional=True), Expected(type="net")))
    assert assign(board, [one]) == [[], [one]]


def test_a_chain_of_assignments_is_found() -> None:
    devices = [device(f"0000:00:{n:02x}.0", n) for n in range(1, 9)]
    wanted = [Expected(type="net", queues=n) for n in (1, 2, 3, 4, 5, 6, 7, 8)]
    for order in (wanted, wanted[::-1]):
        board = Board(tuple(order))
        for expected, got in zip(order, assign(board, devices), strict=True):
            assert [one.attempts[0].queues is not None for one in got] == [True]
            assert len(got[0].attempts[0].queues or ()) >= (expected.queues or 0)


def test_more_of_a_type_than_expected_only_matters_for_only(boot: Seen) -> None:
    more = replace(boot, devices=[*boot.devices, replace(boot.devices[0], address="0000:00:08.0")])
    expected = tuple(Expected(type=kind) for kind in ("net", "block", "rng"))
    assert set(steps(Board(expected), more).values()) == {True}
    only = steps(Board(expected, only=True), more)
    assert [key for key, ok in only.items() if ok is False] == [("board-only", "0000:00:08.0")]
    missing = steps(Board((Expected(type="net", count=3),)), more)
    assert missing["board-device", "net"] is False


def test_the_verdict_follows(boot: Seen) -> None:
    def after(board: Board, found: Seen) -> str:
        result = verdict.judge(reader.read(dump(golden("debian-6.1")), "test"))
        assert result.verdict == CONFORMS
        judge(board, found).apply(result)
        return result.verdict

    board = Board((Expected("0000:00:09.0"),))
    assert after(Board((Expected(NET),)), boot) == CONFORMS
    assert after(board, boot) == DEVIATES
    assert after(board, replace(boot, has_all=False)) == INCOMPLETE


def test_hostile_names_are_written_as_toml() -> None:
    name = 'a"b\\c\n\x00\x7f\u0085\U0001f600]'
    lines = change(golden("debian-6.1"), at("virtio_dev_probe"), driver=name)
    found = shown(lines)
    found.devices[0] = replace(found.devices[0], driver=name, address=name)
    found.release = name + "\ud800"
    text = board_text(found)
    assert text.isascii()
    board = parse(text.encode(), "written")
    one = next(one for one in board.devices if one.address == name)
    assert one.driver == name
    assert set(steps(board, found).values()) == {True}


def test_the_scope_leaves_out_what_is_not_asked_for(boot: Seen) -> None:
    recording = reader.read(dump(golden("debian-6.1")), "test")
    result: Result = verdict.judge(recording, scope=named.scope(recording, [NET], []))
    board = Board((Expected(NET, queues=9), Expected(DISK, queues=9), Expected(type="scsi")))
    judge(board, boot).apply(result)
    own = [step for step in result.steps if step.id.startswith("board-")]
    assert {step.subject for step in own} == {NET}
    assert result.verdict == DEVIATES
