# SPDX-License-Identifier: GPL-2.0-or-later
"""The default devices, on a kernel with VirtIO in modules and on one with VirtIO built in, on one
processor and on two."""

from __future__ import annotations

import re

import pytest

from tests.vm import oracle
from tests.vm.guest import BLK, NET, Boot, Guest

_SCRIPT = oracle.SYSFS + "show_bus final; false"

_TWO_PROCESSORS = (*NET, *BLK, "-device", "virtio-rng-pci,addr=04.0", "-smp", "2")

GUESTS = {
    "6.1": Guest("6.1", _SCRIPT),
    "6.12": Guest("6.12", _SCRIPT),
    "6.1 on two": Guest("6.1", _SCRIPT, _TWO_PROCESSORS),
    "6.12 on two": Guest("6.12", _SCRIPT, _TWO_PROCESSORS),
}


def test_every_device_and_its_driver_are_what_sysfs_shows(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    assert len(final) == 3
    devices = booted.report()["devices"]
    assert [(d["name"], d["address"], d["driver"], d["id"], d["vendor"]) for d in devices] == [
        (d.name, d.address, d.driver, d.id, f"0x{d.vendor:04x}") for d in final.values()
    ]
    assert all(device["state"] == "bound" for device in devices)


def test_bindings_are_those_of_initcall_debug(booted: Boot) -> None:
    """Which bindings, in which order, with which results."""
    theirs = oracle.virtio_probes(booted.kernel_log)
    ours = booted.report()["bindings"]
    assert [(b["name"], b["result"]) for b in ours] == [(p.device, -p.result) for p in theirs]
    assert len(ours) == 3
    starts = [binding["started_ns"] for binding in ours]
    assert starts == sorted(starts)


def test_durations_lie_within_those_of_initcall_debug(booted: Boot) -> None:
    ours = [binding["duration_ns"] for binding in booted.report()["bindings"]]
    oracle.same_time(ours, oracle.virtio_probes(booted.kernel_log))


def test_transports_are_those_of_the_configuration_space(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    for device in booted.report()["devices"]:
        assert final[device["address"]].modern
        assert device["transport"] == "pci-modern"


def test_the_transports_probes_are_those_of_initcall_debug(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    theirs = oracle.probes(booted.kernel_log, "|".join(map(re.escape, final)))
    assert [probe.device for probe in theirs] == list(final)
    returns = [
        line
        for line in booted.events()
        if line.get("probe") == "virtio_pci_probe" and line["kind"] == "return"
    ]
    assert [(r["device"]["address"], r["result"]) for r in returns] == [
        (p.device, -p.result) for p in theirs
    ]
    oracle.same_time([r["duration_ns"] for r in returns], theirs)


def test_devices_are_registered_in_the_order_of_their_indices(booted: Boot) -> None:
    devices = booted.report()["devices"]
    times = [device["registered_ns"] for device in devices]
    assert times == sorted(times)
    assert None not in times
    assert not any(device["snapshot"] for device in devices)


def test_the_verdict_and_the_exit_status(booted: Boot) -> None:
    status, found = booted.check()
    assert (found["verdict"], status, booted.status) == ("CONFORMS", 0, 0)
    assert found["schema"] == "virtio-trace/check/1"
    assert not [f for f in found["findings"] if f["severity"] != "note"]
    assert "CONFORMS" in booted.stdout
    assert all(step["ok"] for step in found["steps"])
    drivers = {step["subject"] for step in found["steps"] if step["id"] == "driver-registered"}
    assert drivers >= {"virtio_net", "virtio_blk", "virtio_rng"}
    assert (booted.kernel == "6.1") is drivers.isdisjoint({"virtio_console", "virtiofs"})


def test_the_recording_is_whole(booted: Boot) -> None:
    lines = booted.lines()
    trailer = lines[-1]
    assert (trailer["kind"], trailer["lost"], trailer["ended"]) == ("trailer", 0, "command")
    assert trailer["events"] == len(lines) - 2
    assert [line["seq"] for line in lines[1:-1]] == list(range(1, len(lines) - 1))
    assert booted.report()["recording"]["complete"] is True


def test_the_status_of_run_is_kept_and_said(booted: Boot) -> None:
    """The script ends with false."""
    assert booted.lines()[-1]["command_status"] == 1
    assert "--run ended with status 1" in booted.stderr


@pytest.mark.parametrize("verb", ["report", "graph", "script"])
def test_the_verbs_that_judge_nothing_end_with_0(booted: Boot, verb: str) -> None:
    assert booted.read(verb).returncode == 0
