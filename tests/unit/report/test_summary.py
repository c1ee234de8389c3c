# SPDX-License-Identifier: GPL-2.0-or-later
"""summarize() on real recordings and on recordings derived from them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.surgery import Line, at, change, dump, golden, remove
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.report.summary import summarize


def report(lines: list[Line]) -> dict[str, Any]:
    return summarize(builder.build(reader.read(dump(lines), "test")))


@pytest.fixture
def boot() -> list[Line]:
    """A boot of Debian's 6.1 without failures."""
    return golden("debian-6.1")


@pytest.fixture
def net(boot: list[Line]) -> str:
    """The address of its first net device."""
    return str(next(e for e in boot if at("driver_probe")(e))["device"]["address"])


def device(report: dict[str, Any], address: str) -> dict[str, Any]:
    found: dict[str, Any] = next(d for d in report["devices"] if d["address"] == address)
    return found


def test_facts_about_a_driver_come_from_the_evidence(boot: list[Line]) -> None:
    drivers = report(boot)["drivers"]
    facts = {facts["name"]: facts for facts in boot[0]["evidence"]["drivers"]}
    registered = [e for e in boot if at("register_virtio_driver", kind="entry")(e)]
    assert [(d["name"], d["registered_ns"]) for d in drivers] == [
        (e["driver"], e["ns"]) for e in registered
    ]
    for driver in drivers:
        known = facts[driver["name"]]
        assert driver["probe"] == known["functions"]["probe"]
        assert driver["init"] == known["init"]
        # file2alias.c made these from the same table
        assert driver["matches"] == driver["aliases"] == known["aliases"]
        assert driver["builtin"] is False


def test_a_driver_without_a_file_is_not_reported_as_a_module() -> None:
    drivers = report(golden("debian-6.12-rebind"))["drivers"]
    console = next(d for d in drivers if d["name"] == "virtio_console")
    assert console["snapshot"] is True
    assert console["registered_ns"] is None
    assert console["builtin"] is not False


def test_a_device_that_came_back_is_a_new_device(boot: list[Line]) -> None:
    lines = golden("debian-6.12-rebind")
    address = next(e for e in lines if at("unregister_virtio_device")(e))["device"]["address"]
    both = [d for d in report(lines)["devices"] if d["address"] == address]
    assert [(d["state"], d["generation"], d["snapshot"]) for d in both] == [
        ("removed", 0, True),
        ("bound", 1, False),
    ]


def test_the_probe_functions_error_ends_it_at_driver_probed(boot: list[Line], net: str) -> None:
    for probe in ("driver_probe", "virtio_dev_probe"):
        boot = change(boot, at(probe, net, kind="return"), result=-22)
    binding = next(b for b in report(boot)["bindings"] if b["device"] == net)
    assert (binding["result"], binding["errno"], binding["step"]) == (
        -22,
        "EINVAL",
        "driver-probed",
    )
    assert binding["reason"] == "virtnet_probe [virtio_net] returned -22 (EINVAL)"
    assert (device(report(boot), net)["state"], device(report(boot), net)["driver"]) == (
        "failed",
        None,
    )


def test_an_error_before_the_probe_function_ends_it_at_bus_probed(
    boot: list[Line], net: str
) -> None:
    boot = change(boot, at("virtio_dev_probe", net, kind="return"), result=-19)
    boot = remove(boot, at("driver_probe", net))
    binding = next(b for b in report(boot)["bindings"] if b["device"] == net)
    assert (binding["errno"], binding["step"], binding["function"]) == (
        "ENODEV",
        "bus-probed",
        None,
    )
    assert "before virtio_net's own probe function was called" in binding["reason"]
    boot[-1]["lost"] = 2  # the lost events may be those of the probe function
    binding = next(b for b in report(boot)["bindings"] if b["device"] == net)
    assert "before" not in binding["reason"]


def test_the_function_is_never_inferred(boot: list[Line], net: str) -> None:
    binding = next(
        b for b in report(remove(boot, at("driver_probe", net)))["bindings"] if b["device"] == net
    )
    assert (binding["result"], binding["function"], binding["symbol"]) == (0, None, None)


def test_an_unbound_device_has_a_reason(boot: list[Line], net: str) -> None:
    boot = remove(boot, lambda e: e.get("driver") == "virtio_net")
    found = device(report(boot), net)
    assert (found["state"], found["driver"]) == ("unbound", None)
    assert found["reason"].startswith(
        "not bound: virtio_net, which matches it, was never registered: "
        "its module virtio_net was loaded, and its init returned 0"
    )


def test_a_transport_that_failed(boot: list[Line], net: str) -> None:
    boot = remove(boot, lambda e: "id" in e.get("device", {}) and e["device"]["address"] == net)
    boot = change(boot, at("virtio_pci_probe", net, kind="return"), result=-12)
    found = device(report(boot), net)
    assert found["state"] == "failed"
    assert found["reason"] == "virtio_pci_probe [virtio_pci] returned -12 (ENOMEM)"
    assert found["registered_ns"] is None


def test_a_binding_that_was_undone(boot: list[Line], net: str) -> None:
    last = boot[-2]
    undone = {
        "seq": last["seq"] + 1, "ns": last["ns"] + 5, "cpu": 0, "tid": 9, "comm": "sh",
        "kind": "entry", "probe": "virtio_dev_remove", "function": "virtio_dev_remove",
        "module": "virtio",
        "device": {"address": net, "bus": "pci", "index": 0, "id": 1, "vendor": 0x1AF4},
    }  # fmt: skip
    trailer = {**boot[-1], "events": boot[-1]["events"] + 1}
    found = report([*boot[:-1], undone, trailer])
    assert device(found, net)["state"] == "unbound"
    assert device(found, net)["reason"] == "unbound from virtio_net"
    binding = next(b for b in found["bindings"] if b["device"] == net)
    assert binding["unbound_ns"] == undone["ns"]


def test_a_cut_recording_is_not_complete(boot: list[Line]) -> None:
    assert report(boot)["recording"]["complete"] is True
    assert report(boot[:-1])["recording"]["complete"] is False
    boot[-1]["probes"][0]["state"] = "not armed"
    said = report(boot)["recording"]
    assert said["complete"] is False
    assert [p["probe"] for p in said["unseen"]] == [boot[-1]["probes"][0]["probe"]]


def test_unseen_driver_features_come_from_its_file() -> None:
    """As if the event did not fit on the kernel's command line. Both are the same table."""
    lines = golden("debian-6.12")
    seen = [b["features"]["driver"] for b in report(lines)["bindings"]]
    assert len(seen) == 3 and None not in seen and any(seen)
    unseen = remove(lines, at("driver_features"))
    assert [b["features"]["driver"] for b in report(unseen)["bindings"]] == seen
    for facts in unseen[0]["evidence"]["drivers"]:
        del facts["features"], facts["features_legacy"]
    assert [b["features"]["driver"] for b in report(unseen)["bindings"]] == [None] * 3
