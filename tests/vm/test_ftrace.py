# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests without an agent: recorded from the kernel's trace ring alone, arm64 and x86-64."""

from __future__ import annotations

import re
from typing import Any

from tests.unit.surgery import GOLDEN
from tests.vm import oracle
from tests.vm.guest import BLK, NET, Boot, Guest, run_json
from virtio_trace.virtio import features

_SCRIPT = oracle.SYSFS + "show_bus final; at queues; cat /proc/interrupts; false"

# Modern devices on both transports of QEMU's board "virt", the MMIO ones in its last three slots.
BOTH_TRANSPORTS = (
    *("-global", "virtio-mmio.force-legacy=false"),
    *("-netdev", "user,id=net1", "-device", "virtio-net-device,netdev=net1"),
    *("-blockdev", "null-co,node-name=disk1,size=67108864,read-zeroes=on"),
    *("-device", "virtio-blk-device,drive=disk1", "-device", "virtio-rng-device"),
    *(*NET, *BLK, "-device", "virtio-rng-pci,addr=04.0"),
)

GUESTS = {
    "arm64": Guest(
        "linux-image-cloud-arm64/trixie", _SCRIPT, BOTH_TRANSPORTS, collector="ftrace", seconds=15
    ),
    "6.1": Guest("6.1", _SCRIPT, collector="ftrace", seconds=15),
    "6.12": Guest("6.12", _SCRIPT, collector="ftrace", seconds=15),
}


def is_arm64(booted: Boot) -> bool:
    return "arm64" in booted.kernel


def test_every_device_is_what_sysfs_shows(booted: Boot) -> None:
    sysfs = oracle.devices(booted.sections["final"])
    devices = {device["address"]: device for device in booted.report()["devices"]}
    assert list(devices) == list(sysfs)
    assert len(sysfs) == (6 if is_arm64(booted) else 3)
    for address, theirs in sysfs.items():
        ours = devices[address]
        assert (ours["name"], ours["driver"]) == (theirs.name, theirs.driver)
        assert (ours["id"], ours["vendor"]) == (theirs.id, f"0x{theirs.vendor:04x}")
        assert ours["status"][-1]["value"] == theirs.status == 15
        on_pci = "pci-modern" if theirs.config and theirs.modern else "unknown"
        assert ours["transport"] == ("mmio" if address.endswith(".virtio_mmio") else on_pci)


def test_what_was_negotiated_is_what_sysfs_shows(booted: Boot) -> None:
    sysfs = oracle.devices(booted.sections["final"])
    bindings = booted.report()["bindings"]
    assert {binding["device"] for binding in bindings} == set(sysfs)
    for binding in bindings:
        theirs = sysfs[binding["device"]]
        bits = [bit for bit, one in enumerate(theirs.features) if one == "1"]
        assert binding["features"]["negotiated"] == features.names(theirs.id, bits)
        assert [status["value"] for status in binding["status"]] == [3, 11, 15]
        assert binding["queues"]
        assert all(queue["size"] for queue in binding["queues"])


def test_bindings_are_those_of_initcall_debug(booted: Boot) -> None:
    theirs = oracle.virtio_probes(booted.kernel_log)
    ours = booted.report()["bindings"]
    assert [(b["name"], b["result"]) for b in ours] == [(p.device, -p.result) for p in theirs]
    oracle.same_time([binding["duration_ns"] for binding in ours], theirs)


def test_the_transports_probes_are_those_of_initcall_debug(booted: Boot) -> None:
    """Also those of built-in code, and of the empty slots of virtio-mmio."""
    names = r"\d{4}:00:0[234]\.0|[0-9a-f]+\.virtio_mmio"
    theirs = oracle.probes(booted.kernel_log, names)
    ours = [
        line
        for line in booted.events()
        if line["kind"] == "return" and line["probe"] in ("virtio_pci_probe", "virtio_mmio_probe")
    ]
    assert [(r["device"]["address"], r["result"]) for r in ours] == [
        (p.device, -p.result) for p in theirs
    ]
    empty = [p.device for p in theirs if p.result]
    assert booted.report()["empty_slots"] == empty
    assert len(empty) == (29 if is_arm64(booted) else 0)


def test_vectors_are_those_of_proc_interrupts(booted: Boot) -> None:
    text = "\n".join(booted.sections["queues"])
    for binding in booted.report()["bindings"]:
        if binding["device"].endswith(".virtio_mmio"):
            assert all(queue["vector"] is None for queue in binding["queues"])
            continue
        theirs = re.findall(rf"{binding['name']}-(\S+)", text)
        ours = [queue["name"] for queue in binding["queues"] if queue["vector"] is not None]
        assert ours == [name for name in theirs if name != "config"]


def test_the_host_sees_the_same(booted: Boot) -> None:
    """Status, features and virtqueues, by QEMU's own view."""
    steps = [s for s in booted.check()[1]["steps"] if s["id"].startswith("host-")]
    assert len(steps) == 3 * len(booted.report()["devices"])
    assert all(step["ok"] for step in steps)


def test_the_verdict_and_the_exit_status(booted: Boot) -> None:
    status, found = booted.check()
    assert (found["verdict"], status, booted.status) == ("CONFORMS", 0, 0), found["findings"]
    assert "CONFORMS" in booted.stdout


def test_the_recording_is_whole(booted: Boot) -> None:
    header, *events, trailer = booted.lines()
    assert header["collector"] == "ftrace"
    assert (trailer["kind"], trailer["lost"], trailer["ended"]) == ("trailer", 0, "command")
    assert (trailer["events"], trailer["command_status"]) == (len(events), 1)
    assert [line["seq"] for line in events] == list(range(1, len(events) + 1))
    assert not [p for p in trailer["probes"] if p["state"] == "not armed" or p["missed"]]
    assert booted.report()["recording"]["complete"] is True


def test_what_is_built_in_is_seen_before_user_space(booted: Boot) -> None:
    header, *events, _ = booted.lines()
    early = {e["probe"] for e in events if e["ns"] < header["user_space_ns"] and "probe" in e}
    built_in = "virtio" in header["evidence"]["builtin"]
    assert ("register_virtio_device" in early) is built_in
    assert ("virtio_pci_probe" in early) is built_in


def test_it_is_what_the_ebpf_collector_recorded(booted: Boot) -> None:
    """As of the same devices on the kernel of the golden recording, except for times."""
    if booted.kernel != "6.1":
        return
    status, theirs = run_json("report", GOLDEN / "debian-6.1.vtr")
    assert status == 0
    ours = booted.report()
    for name in ("bindings", "devices", "drivers"):
        assert _timeless(ours[name]) == _timeless(theirs[name])


_LATER = ("ns", "host", "completions", "interrupts", "carries", "in_sysfs")
"""Times, and what the golden recording is too old to have."""


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        known = {k: v for k, v in value.items() if k not in _LATER}
        return {k: _timeless(v) for k, v in known.items() if not k.endswith("_ns")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
