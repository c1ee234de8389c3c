# SPDX-License-Identifier: GPL-2.0-or-later
"""The VirtIO path's share of the boot, compared with independently computed sums."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, Line, at, dump, golden
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render.table import table
from virtio_trace.report import boot_time
from virtio_trace.report import summary as report

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]


def boot(lines: list[Line]) -> dict[str, Any]:
    found: dict[str, Any] = summary(lines)["boot"]
    return found


def summary(lines: list[Line]) -> dict[str, Any]:
    return report.summarize(builder.build(reader.read(dump(lines), "test")))


def took(lines: list[Line], *probes: str, address: str | None = None) -> int:
    """The sum of the durations that the kernel's return probes measured."""
    where = [at(probe, address, kind="return") for probe in probes]
    return sum(e["duration_ns"] for e in lines if any(is_one(e) for is_one in where))


def test_the_whole_is_the_sum_of_the_outermost_calls() -> None:
    """In this boot no two threads overlap, and each binding is inside its driver's registration."""
    lines = golden("debian-6.1")
    found = boot(lines)
    last = [e for e in lines if at("virtio_dev_probe", kind="return")(e)][-1]
    assert (found["until_ns"], found["until"]["event"]) == (last["ns"], last["seq"])
    outermost = took(lines, "virtio_pci_probe", "register_virtio_driver", "bus_register")
    after = [e for e in lines if at("register_virtio_driver", kind="return")(e)][-1]
    assert found["virtio_ns"] == outermost - (after["ns"] - last["ns"])
    assert found["percent"] == round(100 * found["virtio_ns"] / last["ns"], 3)
    assert found["drivers_ns"] + sum(d["virtio_ns"] for d in found["devices"]) == found["virtio_ns"]


def test_a_devices_phases_are_its_calls_without_those_inside() -> None:
    lines = golden("debian-6.1")
    for device in boot(lines)["devices"]:
        address = device["device"]
        nested = ["virtio_pci_probe", "register_virtio_device"]
        bound = ["virtio_dev_probe", "driver_probe", "find_vqs"]
        expected: dict[str, int] = {}
        for names in (nested, bound):
            inner = [*(took(lines, probe, address=address) for probe in names), 0]
            expected |= {
                probe: inner[number] - inner[number + 1] for number, probe in enumerate(names)
            }
        assert [p["own_ns"] for p in device["phases"]] == list(expected.values())
        assert [p["name"] for p in device["phases"]] == list(boot_time.PHASES)
        assert device["virtio_ns"] == took(
            lines, "virtio_pci_probe", "virtio_dev_probe", address=address
        )


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_counted_twice_or_left_out(name: str) -> None:
    lines = golden(name)
    found = boot(lines)
    if found is None:
        # no device was bound, or the recorder came after boot
        assert name in ("debian-6.12-deferred", "debian-6.1-live")
        return
    devices = [d["virtio_ns"] for d in found["devices"]]
    assert max(devices) <= found["virtio_ns"] <= found["until_ns"]
    assert found["virtio_ns"] - found["drivers_ns"] <= sum(devices)
    for device in found["devices"]:
        assert sum(p["own_ns"] for p in device["phases"]) == device["virtio_ns"]
        assert all(p["own_ns"] > 0 for p in device["phases"])


def test_concurrent_time_counts_once() -> None:
    """The second device's probe is moved to another thread and to the time of the first one."""
    lines = golden("debian-6.1")
    before = boot(lines)
    first = next(e for e in lines if at("virtio_pci_probe", "0000:00:02.0", kind="return")(e))
    end = first["ns"] + 2 * 10**8
    moved = [
        n for n, e in enumerate(lines)
        if e.get("device", {}).get("address") == "0000:00:03.0" and e["ns"] < end
    ]  # fmt: skip
    last = lines[moved[-1]]
    assert at("virtio_pci_probe", kind="return")(last)
    back = last["ns"] - first["ns"]  # both return at the same time
    for number in moved:
        lines[number] = {**lines[number], "ns": lines[number]["ns"] - back, "tid": 999}
    found = boot(lines)
    assert found["devices"] == before["devices"]
    assert found["virtio_ns"] == before["virtio_ns"] - min(
        last["duration_ns"], first["duration_ns"]
    )


def test_boot_ends_once_each_device_has_been_bound() -> None:
    lines = golden("debian-6.1-rebind")
    found = boot(lines)
    returns = [e for e in lines if at("virtio_dev_probe", kind="return")(e)]
    addresses = {e["device"]["address"] for e in returns}
    assert len(returns) > len(addresses)
    firsts = [
        next(e for e in returns if e["device"]["address"] == address) for address in addresses
    ]
    assert found["until"]["event"] == max(e["seq"] for e in firsts)
    assert len(found["devices"]) == len(addresses)  # devices that came back later are not included


def test_a_retried_probe_ends_boot_when_it_succeeds() -> None:
    lines = golden("debian-6.1-refused")
    (failed, again) = [e for e in lines if at("virtio_dev_probe", "0000:00:03.0", kind="return")(e)]
    assert boot(lines)["until_ns"] < again["ns"]
    failed["result"], again["result"] = -517, 0
    assert boot(lines)["until"]["event"] == again["seq"]


def test_time_before_the_recording_is_reported_as_unknown() -> None:
    late = boot(golden("debian-6.12-rebind"))
    assert late["recorded_from_ns"] == golden("debian-6.12-rebind")[0]["started_ns"]
    assert late["notes"] == ["what the virtio path took before the recording began is unknown"]
    assert boot(golden("debian-6.1"))["notes"] == [
        "there was no VirtIO bus before the recording began"
    ]


def test_lost_events_and_open_calls_are_reported() -> None:
    lines = golden("debian-6.1")
    probe = next(n for n, e in enumerate(lines) if at("driver_probe", kind="entry")(e))
    cut = boot(lines[: probe + 2])
    assert cut["notes"][1:] == [
        "the recording is not complete: what was lost is not counted",
        "calls without a return, counted as long as they can have run: 3",
    ]
    assert cut["until_ns"] == lines[probe + 1]["ns"]  # the device has not come up yet


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_has_a_line_per_device_and_names_the_whole(width: int) -> None:
    lines = golden("debian-6.1")
    found, out = boot(lines), io.StringIO()
    table(summary(lines), out, width)
    section = out.getvalue().split("TIME SINCE BOOT")[1].split("\n\n")[0]
    for device in found["devices"]:
        line = next(x for x in section.splitlines() if x.startswith(device["device"]))
        cells = line.removesuffix(" %").split()
        assert float(cells[-2]) == round(device["virtio_ns"] / 1e6, 3)
        assert abs(sum(map(float, cells[1:-2])) - float(cells[-2])) < 0.01
    said = " ".join(section.split())
    assert "of the 14.272664 s from boot to the return of virtio_dev_probe" in said
    assert "recorded from 11.097801 s on; there was no VirtIO bus before" in said
    out = io.StringIO()
    table(summary(golden("debian-6.12-deferred")), out, width)
    assert "TIME SINCE BOOT" not in out.getvalue()


@pytest.mark.parametrize("seed", range(50))
def test_own_times_match_counting_every_moment(seed: int) -> None:
    chance = random.Random(seed)
    found = []
    for _ in range(chance.randrange(1, 20)):
        start = chance.randrange(60)
        found.append(
            (chance.randrange(len(boot_time.PHASES)), (start, start + chance.randrange(30)))
        )
    counted = [0] * len(boot_time.PHASES)
    for moment in range(100):
        open_ = [phase for phase, (start, end) in found if start <= moment < end]
        if open_:
            counted[max(open_)] += 1
    assert boot_time._own(found) == counted
