# SPDX-License-Identifier: GPL-2.0-or-later
"""An arm64 guest by eBPF: its events are those that its kernel's trace ring has of such a boot."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Any

import pytest

from tests.vm import oracle
from tests.vm.guest import Boot, Guest
from tests.vm.test_ftrace import BOTH_TRANSPORTS
from virtio_trace.tracer.points import table

_KERNEL = "linux-image-cloud-arm64/trixie"
_SCRIPT = f"""{oracle.SYSFS}
cd /sys/bus/virtio/drivers/virtio_net
for device in virtio*; do echo $device >unbind; echo $device >bind; done
show_bus final
"""

GUESTS = {
    name: Guest(_KERNEL, _SCRIPT, BOTH_TRANSPORTS, seconds=30, collector=collector)
    for name, collector in (("bpf", "auto"), ("ftrace", "ftrace"))
}

Boots = dict[tuple[str, str], Future[Boot]]


@pytest.fixture(scope="module")
def bpf(boots: Boots) -> Boot:
    return boots[__name__, "bpf"].result()


@pytest.fixture(scope="module")
def ftrace(boots: Boots) -> Boot:
    return boots[__name__, "ftrace"].result()


def _told(booted: Boot) -> Counter[tuple[Any, ...]]:
    """What each event says, but for times, threads and order. A virtqueue's own event is the trace
    ring's alone."""
    names = ("kind", "probe", "function", "module", "driver", "result")
    return Counter(
        (*(event.get(name) for name in names), (event.get("device") or {}).get("address"))
        for event in booted.events()
        if event.get("probe") != table.VRING_POINT.name
    )


def test_who_recorded(bpf: Boot, ftrace: Boot) -> None:
    headers = [booted.lines()[0] for booted in (bpf, ftrace)]
    assert [header.get("collector") for header in headers] == [None, "ftrace"]
    assert [header["kernel"]["machine"] for header in headers] == ["aarch64"] * 2


def test_its_events_are_those_of_the_trace_ring(bpf: Boot, ftrace: Boot) -> None:
    ours, theirs = _told(bpf), _told(ftrace)
    assert sum(ours.values()) > 300
    assert (ours - theirs, theirs - ours) == (Counter(), Counter())


def test_devices_are_those_of_sysfs(bpf: Boot) -> None:
    final = oracle.devices(bpf.sections["final"])
    devices = bpf.report()["devices"]
    assert len(final) == 6
    assert [(d["name"], d["address"], d["driver"], d["id"]) for d in devices] == [
        (d.name, d.address, d.driver, d.id) for d in final.values()
    ]


def test_bindings_are_those_of_initcall_debug(bpf: Boot) -> None:
    theirs = oracle.virtio_probes(bpf.kernel_log)
    ours = bpf.report()["bindings"]
    assert [(b["name"], b["result"]) for b in ours] == [(p.device, -p.result) for p in theirs]
    assert len(ours) == 8
    oracle.same_time([binding["duration_ns"] for binding in ours], theirs)


def test_the_recording_is_whole_and_conforms(bpf: Boot) -> None:
    trailer = bpf.lines()[-1]
    assert (trailer["lost"], trailer["ended"]) == (0, "command")
    assert not [p for p in trailer["probes"] if p["state"] == "not armed" or p["missed"]]
    status, found = bpf.check()
    assert (found["verdict"], status, bpf.status) == ("CONFORMS", 0, 0), found["findings"]
