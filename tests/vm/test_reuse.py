# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses that the kernel reuses: the recorder identifies devices and drivers by them, and must
notice a new owner. The oracle for addresses is a plain kprobe event of ftrace."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from tests.vm import oracle
from tests.vm.guest import BLK, NET, Boot, Guest

ROUNDS = [f"round {number}" for number in range(12)]
NET_AT, BLK_AT = "0000:00:02.0", "0000:00:03.0"

# A freed struct virtio_pci_device is mostly the next one to be allocated.
_SCRIPT = (
    oracle.SYSFS
    + f"""
tracing=/sys/kernel/tracing
echo 'p:mine/device register_virtio_device at=%di:x64' >>$tracing/kprobe_events
echo 'p:mine/driver register_virtio_driver at=%di:x64 name=+0(+0(%di)):string' \\
    >>$tracing/kprobe_events
echo 1 >$tracing/events/mine/enable
pci() {{ echo $2 >/sys/bus/pci/drivers/virtio-pci/$1; }}
anew() {{ pci unbind $1; pci unbind $2; pci bind $1; pci bind $2; }}
for n in 0 2 4 6 8 10; do
    anew {NET_AT} {BLK_AT}
    show_bus "round $n"
    rmmod virtio_net; rmmod virtio_blk; modprobe virtio_blk; modprobe virtio_net
    anew {BLK_AT} {NET_AT}
    show_bus "round $((n + 1))"
done
echo 0 >$tracing/events/mine/enable
at trace
grep '(register_virtio_' $tracing/trace
echo '-:mine/device' >>$tracing/kprobe_events
echo '-:mine/driver' >>$tracing/kprobe_events
"""
)

GUESTS = {"6.1": Guest("6.1", _SCRIPT, (*NET, *BLK))}


def registered(booted: Boot, probe: str) -> list[dict[str, Any]]:
    return [
        line for line in booted.events() if (line.get("probe"), line["kind"]) == (probe, "entry")
    ]


def addresses(booted: Boot, kind: str) -> list[str]:
    """The addresses in memory of what was registered, in order, by ftrace."""
    return [
        at
        for line in booted.sections["trace"]
        for at in re.findall(rf"{kind}: .* at=(0x[0-9a-f]+)", line)
    ]


def test_the_kernel_did_use_addresses_again(booted: Boot) -> None:
    """Without this, the other tests prove nothing."""
    places = addresses(booted, "device")
    assert len(places) == 2 * len(ROUNDS)
    at: dict[str, set[str]] = defaultdict(set)
    mine = registered(booted, "register_virtio_device")[-len(places) :]
    for place, line in zip(places, mine, strict=True):
        at[place].add(line["device"]["address"])
    assert {NET_AT, BLK_AT} in at.values(), at


def test_every_device_is_what_sysfs_shows_each_time(booted: Boot) -> None:
    """Their index and their address in memory change with the order in which they are bound."""
    returned = [
        line["device"]
        for line in booted.events()
        if (line.get("probe"), line["kind"]) == ("register_virtio_device", "return")
    ][-2 * len(ROUNDS) :]
    names = set()
    for number, name in enumerate(ROUNDS):
        found = oracle.devices(booted.sections[name])
        assert found.keys() == {NET_AT, BLK_AT}
        names.add(tuple(found))
        assert [
            (f"virtio{ref['index']}", ref["address"], ref["id"], ref["vendor"])
            for ref in returned[2 * number : 2 * number + 2]
        ] == [(d.name, d.address, d.id, d.vendor) for d in found.values()]
    assert len(names) == 2


def test_every_event_is_about_the_device_that_is_registered_then(booted: Boot) -> None:
    """Its index is that of the last registration at its PCI address."""
    kinds = {NET_AT: (1, "virtio_net"), BLK_AT: (2, "virtio_blk")}
    index: dict[str, int | None] = {}
    seen = 0
    for line in booted.events():
        ref = line.get("device")
        if ref is None or ref.get("pci_device") is not None:
            continue
        address = ref["address"]
        assert ref.get("id", kinds[address][0]) == kinds[address][0], line
        if line["probe"] in ("virtio_pci_modern_probe", "register_virtio_device"):
            index[address] = ref.get("index")
        elif index.get(address) is None:
            index[address] = ref["index"]  # register_virtio_device gave it, and goes on
        assert ref.get("index") == index[address], line
        seen += 1
        if line["probe"] in ("virtio_dev_probe", "driver_probe", "find_vqs", "driver_features"):
            assert line["driver"] == kinds[address][1], line
    assert seen > 200


def test_every_driver_is_the_one_that_ftrace_saw(booted: Boot) -> None:
    theirs = [
        name
        for line in booted.sections["trace"]
        for name in re.findall(r'driver: .* name="(\w+)"', line)
    ]
    mine = [line["driver"] for line in registered(booted, "register_virtio_driver")]
    assert theirs == ["virtio_blk", "virtio_net"] * (len(ROUNDS) // 2)
    assert mine[-len(theirs) :] == theirs


def test_the_verdict(booted: Boot) -> None:
    status, found = booted.check()
    assert (found["verdict"], status) == ("CONFORMS", 0), found["findings"]
