# SPDX-License-Identifier: GPL-2.0-or-later
"""Which feature a failed negotiation lacks: named where the specification names it, else not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.surgery import at, change, dump, golden, remove
from virtio_trace.recording import reader
from virtio_trace.report.summary import summary

Line = dict[str, Any]

BALLOON, NET = "0000:00:04.0", "0000:00:03.0"


@pytest.fixture
def refused() -> list[Line]:
    """A balloon that refuses FEATURES_OK, and a net device that virtnet_validate refuses."""
    return copy.deepcopy(golden("debian-6.1-refused"))


def missing(lines: list[Line], address: str) -> list[str]:
    bindings = summary(reader.read(dump(lines), "x"))["bindings"]
    found = [b["features"]["missing"] for b in bindings if b["device"] == address]
    assert all(one == found[0] for one in found)
    assert all(one["why"] for one in found[0])
    return [one["name"] for one in found[0]]


def offering(lines: list[Line], address: str, keep: int, add: int = 0) -> list[Line]:
    """LINES in which the device at ADDRESS offers only the bits of KEEP, and ADD."""
    lines = copy.deepcopy(lines)
    for detail in (event["detail"] for event in lines if at("get_features", address)(event)):
        detail["features"] = f"{int(detail['features'], 16) & keep | add:#x}"
    return lines


def test_of_three_features_that_were_not_written_one_is_missing(refused: list[Line]) -> None:
    bindings = summary(reader.read(dump(refused), "x"))["bindings"]
    found = next(b["features"] for b in bindings if b["device"] == BALLOON)
    assert {*found["offered"]} - {*found["written"]} == {
        "VIRTIO_BALLOON_F_PAGE_POISON", "VIRTIO_RING_F_INDIRECT_DESC", "VIRTIO_F_ACCESS_PLATFORM",
    }  # fmt: skip
    assert found["negotiated"] is None
    assert missing(refused, BALLOON) == ["VIRTIO_F_ACCESS_PLATFORM"]


def test_a_device_that_refuses_for_its_own_reason(refused: list[Line]) -> None:
    assert missing(offering(refused, BALLOON, ~(1 << 33)), BALLOON) == []


def test_a_driver_that_needs_what_is_not_offered(refused: list[Line]) -> None:
    assert missing(refused, NET) == ["VIRTIO_NET_F_CTRL_VQ"]
    assert missing(offering(refused, NET, ~0, 1 << 17), NET) == []
    assert missing(offering(refused, NET, 1 << 32), NET) == []


def test_a_kernel_that_requires_a_feature(refused: list[Line]) -> None:
    """Nothing was written: virtio_features_ok asks the architecture first (memory encryption)."""
    lines = remove(refused, at("set_status", BALLOON))
    assert missing(lines, BALLOON) == []  # it offers both
    assert missing(offering(lines, BALLOON, ~(1 << 33)), BALLOON) == ["VIRTIO_F_ACCESS_PLATFORM"]


def test_a_binding_that_did_not_fail_lacks_nothing(refused: list[Line]) -> None:
    lines = change(refused, at("virtio_dev_probe", BALLOON, kind="return"), result=0)
    assert missing(lines, BALLOON) == []
    assert missing(refused, "0000:00:02.0") == []


def test_without_what_was_offered_nothing_is_known(refused: list[Line]) -> None:
    assert missing(remove(refused, at("get_features", BALLOON)), BALLOON) == []
