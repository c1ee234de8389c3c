# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices and drivers that come and go, in every way that sysfs and modprobe have."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.vm import oracle
from tests.vm.guest import BLK, NET, Boot, Guest

_SCRIPT = (
    oracle.SYSFS
    + """
virtio=/sys/bus/virtio/drivers
pci=/sys/bus/pci
name_at() { echo /sys/bus/pci/devices/$1/virtio* | sed 's,.*/,,'; }

show_bus start
# the driver of one device
echo $(name_at 0000:00:03.0) >$virtio/virtio_blk/unbind
show_bus unbound
echo $(name_at 0000:00:03.0) >$virtio/virtio_blk/bind
# the driver itself
rmmod virtio_net
show_bus removed
modprobe virtio_net
# the transport of one device
echo 0000:00:02.0 >$pci/drivers/virtio-pci/unbind
echo 0000:00:02.0 >$pci/drivers/virtio-pci/bind
# the PCI device
echo 1 >$pci/devices/0000:00:03.0/remove
show_bus gone
echo 1 >$pci/rescan
show_bus final
"""
)

GUESTS = {kernel: Guest(kernel, _SCRIPT, (*NET, *BLK)) for kernel in ("6.1", "6.12")}

NET_AT, BLK_AT = "0000:00:02.0", "0000:00:03.0"


def at(booted: Boot, address: str) -> list[dict[str, Any]]:
    return [d for d in booted.report()["devices"] if d["address"] == address]


def bindings_at(booted: Boot, address: str) -> list[dict[str, Any]]:
    return [b for b in booted.report()["bindings"] if b["device"] == address]


def test_the_script_did_what_it_says(booted: Boot) -> None:
    """By sysfs alone. Without this, the other tests prove nothing."""

    def drivers(section: str) -> dict[str, str | None]:
        return {a: d.driver for a, d in oracle.devices(booted.sections[section]).items()}

    both = {NET_AT: "virtio_net", BLK_AT: "virtio_blk"}
    assert drivers("start") == both
    assert drivers("unbound") == both | {BLK_AT: None}
    assert drivers("removed") == both | {NET_AT: None}
    assert drivers("gone") == {NET_AT: "virtio_net"}
    assert drivers("final") == both


def test_the_end_is_what_sysfs_shows(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    live = [d for d in booted.report()["devices"] if d["state"] != "removed"]
    assert {(d["address"], d["name"], d["driver"], d["id"]) for d in live} == {
        (d.address, d.name, d.driver, d.id) for d in final.values()
    }


def test_each_address_had_two_generations(booted: Boot) -> None:
    start = oracle.devices(booted.sections["start"])
    final = oracle.devices(booted.sections["final"])
    for address in (NET_AT, BLK_AT):
        first, second = at(booted, address)
        assert [first["generation"], second["generation"]] == [0, 1]
        assert (first["state"], second["state"]) == ("removed", "bound")
        assert (first["name"], second["name"]) == (start[address].name, final[address].name)
        assert first["removed_ns"] < second["registered_ns"]
        assert first["snapshot"] is second["snapshot"] is False


def test_each_binding_and_each_unbinding(booted: Boot) -> None:
    """Each started in another way, and the driver's own probe ran each time."""
    for address, driver, function in (
        (NET_AT, "virtio_net", "virtnet_probe"),
        (BLK_AT, "virtio_blk", "virtblk_probe"),
    ):
        bindings = bindings_at(booted, address)
        assert [b["generation"] for b in bindings] == [0, 0, 1]
        assert {(b["driver"], b["function"], b["result"]) for b in bindings} == {
            (driver, function, 0)
        }
        for before, after in pairwise(bindings):
            assert before["started_ns"] + before["duration_ns"] < before["unbound_ns"]
            assert before["unbound_ns"] < after["started_ns"]
        assert bindings[-1]["unbound_ns"] is None


def test_results_and_durations_are_those_of_initcall_debug(booted: Boot) -> None:
    theirs = oracle.virtio_probes(booted.kernel_log)
    ours = booted.report()["bindings"]
    assert [(b["name"], b["result"]) for b in ours] == [(p.device, -p.result) for p in theirs]
    oracle.same_time([b["duration_ns"] for b in ours], theirs)


STEPS = {
    "virtio_pci_probe",
    "virtio_pci_modern_probe",
    "register_virtio_device",
    "virtio_dev_match",
    "virtio_dev_probe",
    "driver_probe",
}


def test_a_rebound_pci_device_shows_the_whole_path(booted: Boot) -> None:
    """Each call is inside the one before it, on one thread, even if all of it is built in."""
    events = booted.events()
    removed = at(booted, NET_AT)[0]["removed_ns"]
    start = next(
        number
        for number, line in enumerate(events)
        if line["ns"] > removed
        and (line.get("probe"), line["kind"]) == ("virtio_pci_probe", "entry")
    )
    thread, depth, path = events[start]["tid"], 0, []
    for line in events[start:]:
        if line["tid"] != thread or line.get("probe") not in STEPS:
            continue
        depth += {"entry": 1, "return": -1}[line["kind"]]
        if line["kind"] == "entry":
            path.append((depth, line["probe"], line["device"]["address"]))
        elif depth == 0:
            break
    matched = [entry for entry in path if entry[1] == "virtio_dev_match"]
    assert (3, "virtio_dev_match", NET_AT) in matched
    assert [entry for entry in path if entry not in matched] == [
        (1, "virtio_pci_probe", NET_AT),
        (2, "virtio_pci_modern_probe", NET_AT),
        (2, "register_virtio_device", NET_AT),
        (3, "virtio_dev_probe", NET_AT),
        (4, "driver_probe", NET_AT),
    ]
    functions = [line.get("function") for line in events[start:]]
    assert functions.index("virtio_dev_match") < functions.index("virtnet_probe")


def test_the_driver_that_was_removed_came_back(booted: Boot) -> None:
    (driver,) = [d for d in booted.report()["drivers"] if d["name"] == "virtio_net"]
    assert (driver["result"], driver["unregistered_ns"]) == (0, None)
    registered = [
        line["kind"]
        for line in booted.events()
        if line.get("probe") == "register_virtio_driver" and line.get("driver") == "virtio_net"
    ]
    assert registered == ["entry", "return"] * 2


def test_transports_of_what_came_later_are_known(booted: Boot) -> None:
    final = oracle.devices(booted.sections["final"])
    for address in (NET_AT, BLK_AT):
        assert final[address].modern
        assert at(booted, address)[1]["transport"] == "pci-modern"


def test_the_verdict(booted: Boot) -> None:
    status, found = booted.check()
    assert not [f for f in found["findings"] if f["severity"] == "error"], found["findings"]
    assert (found["verdict"], status, booted.status) == ("CONFORMS", 0, 0)
