# SPDX-License-Identifier: GPL-2.0-or-later
"""A board of devices that fail in known ways, and of devices that work: one guest per kernel."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.vm import board, compare, oracle
from tests.vm.board import BOARD
from tests.vm.guest import Boot
from virtio_trace.virtio import features

HOST_STEPS = ("host-status", "host-features", "host-queues")
GUESTS = {kernel: board.guest(kernel) for kernel in ("6.1", "6.12")}


def by_address(booted: Boot) -> dict[str, dict[str, Any]]:
    return {device["address"]: device for device in booted.report()["devices"]}


def bindings_at(booted: Boot, slot: str) -> list[dict[str, Any]]:
    return [b for b in booted.report()["bindings"] if b["device"] == f"0000:00:{slot}"]


def test_the_board_is_what_qemu_was_asked_for(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    assert list(final) == [f"0000:00:{slot}" for slot in BOARD]
    assert {device.address[-4:]: device.status for device in final.values()} == {
        address: slot.status for address, slot in BOARD.items()
    }


def test_drivers_are_those_of_sysfs(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    devices = booted.report()["devices"]
    assert [(d["name"], d["address"], d["driver"], d["id"]) for d in devices] == [
        (d.name, d.address, d.driver, d.id) for d in final.values()
    ]


@pytest.mark.parametrize("slot", BOARD)
def test_states(booted: Boot, slot: str) -> None:
    device, expected = by_address(booted)[f"0000:00:{slot}"], BOARD[slot]
    assert (device["type"], device["state"]) == (expected.type, expected.state)
    assert device["driver"] == (expected.driver if expected.state == "bound" else None)
    assert (device["reason"] is None) == (expected.state == "bound")


def test_results_are_those_of_initcall_debug(booted: Boot) -> None:
    """This includes virtio_console, which on 6.12 binds its device before user space starts."""
    bindings = booted.report()["bindings"]
    theirs = oracle.virtio_probes(booted.kernel_log)
    assert [(b["name"], b["result"]) for b in bindings] == [(p.device, -p.result) for p in theirs]


@pytest.mark.parametrize("slot", BOARD)
def test_bindings(booted: Boot, slot: str) -> None:
    expected = BOARD[slot]
    if (
        expected.driver is None
        or by_address(booted)[f"0000:00:{slot}"]["driver"] == "virtio_console"
    ):
        return
    (binding,) = bindings_at(booted, slot)
    assert (binding["driver"], binding["result"]) == (expected.driver, expected.result)


def test_validate_refuses_before_the_drivers_probe(booted: Boot) -> None:
    """virtio_net without a control queue: virtnet_validate; the log names it."""
    (binding,) = bindings_at(booted, "03.0")
    assert (binding["errno"], binding["step"]) == ("EINVAL", "bus-probed")
    assert binding["function"] is None
    assert re.search(r"virtio_net.* virtio1.* failed with error -22", booted.kernel_log)


def test_features_that_the_device_refuses(booted: Boot) -> None:
    (binding,) = bindings_at(booted, "06.0")
    assert (binding["errno"], binding["step"]) == ("ENODEV", "bus-probed")
    assert binding["function"] is None
    assert "virtio_balloon virtio4: virtio: device refuses features" in booted.kernel_log


def test_a_device_for_which_there_is_no_driver_is_a_warning(booted: Boot) -> None:
    assert bindings_at(booted, "07.0") == []
    _, found = booted.check()
    severities = [f["severity"] for f in found["findings"] if f["subject"] == "0000:00:07.0"]
    assert "error" not in severities
    reason = by_address(booted)["0000:00:07.0"]["reason"]
    # 6.12 has drivers built in: their device ids were read from its memory.
    expected = {"6.1": "in its files has", "6.12": "in its files or built into it has"}
    assert reason == (
        "no driver in this kernel for this device (type crypto): no id_table "
        f"{expected[booted.kernel]} virtio:d00000014"
    )


def test_transports_are_those_of_the_configuration_space(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    assert [a for a, device in final.items() if not device.modern] == ["0000:00:04.0"]
    for address, device in by_address(booted).items():
        expected = "pci-modern" if final[address].modern else "pci-legacy"
        assert device["transport"] == expected, address


def test_the_transports_probe_succeeds_in_every_row(booted: Boot) -> None:
    theirs = oracle.probes(booted.kernel_log, "|".join(f"0000:00:{slot}" for slot in BOARD))
    assert [(p.device[-4:], p.result) for p in theirs] == [(slot, 0) for slot in BOARD]
    if booted.kernel == "6.1":
        returns = [
            (line["device"]["address"][-4:], line["result"])
            for line in booted.events()
            if line.get("probe") == "virtio_pci_probe" and line["kind"] == "return"
        ]
        assert returns == [(slot, 0) for slot in BOARD]


def test_the_verdict_names_each_failure_once(booted: Boot) -> None:
    status, found = booted.check()
    assert (found["verdict"], status, booted.status) == ("DEVIATES", 1, 1)
    errors = [(f["step"], f["subject"]) for f in found["findings"] if f["severity"] == "error"]
    assert errors == [("bus-probed", "0000:00:03.0"), ("bus-probed", "0000:00:06.0")]


def test_the_status_is_what_sysfs_says(booted: Boot) -> None:
    """The last status write of each device that has one."""
    final = oracle.devices(booted.sections["final"])
    seen = {a: d["status"] for a, d in by_address(booted).items() if d["status"]}
    assert {address: writes[-1]["value"] for address, writes in seen.items()} == {
        address: final[address].status for address in seen
    }
    assert seen.keys() >= {binding["device"] for binding in booted.report()["bindings"]}


def test_the_negotiated_features_are_what_sysfs_says(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    bindings = [b for b in booted.report()["bindings"] if b["result"] == 0]
    assert len(bindings) > 5
    for binding in bindings:
        device = final[binding["device"]]
        bits = [bit for bit, one in enumerate(device.features) if one == "1"]
        assert binding["features"]["negotiated"] == features.names(device.id, bits)
        offered, wanted = binding["features"]["offered"], binding["features"]["driver"]
        assert set(binding["features"]["negotiated"]) <= set(offered)
        assert wanted is not None


def test_queues_without_msix_have_no_vector(booted: Boot) -> None:
    """vectors=0: the kernel falls back to INTx, and binds."""
    kinds = {b["device"][-4:]: b["interrupts"] for b in booted.report()["bindings"]}
    bound = {b["device"][-4:]: b for b in booted.report()["bindings"] if b["result"] == 0}
    without = next(slot for slot, option in BOARD.items() if "vectors=0" in str(option))
    assert kinds[without] == "intx"
    assert all(queue["vector"] is None for queue in bound[without]["queues"])
    net = bound["02.0"]
    assert net["interrupts"] == "msix"
    assert [(q["name"], q["size"], q["vector"]) for q in net["queues"]] == [
        ("input.0", 256, 1), ("output.0", 256, 2), ("control", 64, None),
    ]  # fmt: skip


def test_every_device_is_what_sysfs_the_log_and_qemu_say(booted: Boot) -> None:
    """Every aspect of every device that can be known, features and status by QEMU's names."""
    rows = compare.rows(booted)
    found = {slot: list(row.compare()) for slot, row in rows.items()}
    assert [(slot, i) for slot, items in found.items() for i in items if not i.right] == []
    by_qemu = {slot for slot, items in found.items() for item in items if item.by == "QEMU"}
    assert by_qemu == set(BOARD)


def test_the_recorded_view_of_the_host_is_what_qemu_said(booted: Boot) -> None:
    """Queried over another monitor by another client, while the guest's script ran."""
    view = booted.lines()[-1]["host"]
    theirs = booted.answers["virtio"]
    assert view["reason"] is None
    recorded = {device["path"].split("/")[-2]: device for device in view["devices"]}
    assert {name: device["address"] for name, device in recorded.items()} == {
        name: f"0000:00:{name.removeprefix('at-')}" for name in theirs
    }
    for device in booted.report()["devices"]:
        said = theirs[f"at-{device['address'][-4:]}"]
        assert set(device["host"]["status"]["names"]) == said.status
        assert set(device["host"]["features"]) == said.negotiated
        assert {q["index"]: q["size"] for q in device["host"]["queues"]} == said.queues
        assert device["host"]["differs"] == []


def test_guest_and_host_agree(booted: Boot) -> None:
    _, found = booted.check()
    steps = [step for step in found["steps"] if step["id"].startswith("host-")]
    assert all(step["ok"] for step in steps)
    bound = {d["address"] for d in booted.report()["devices"] if d["state"] == "bound"}
    compared = {name: {s["subject"] for s in steps if s["id"] == name} for name in HOST_STEPS}
    assert compared == {
        "host-status": {f"0000:00:{slot}" for slot in BOARD},
        "host-features": bound,
        "host-queues": bound,
    }
