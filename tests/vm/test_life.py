# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host does to a guest's devices: plug, unplug, suspend; and drivers whose probes run on
other threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from tests.unit.render import traceevents
from tests.vm import oracle
from tests.vm.guest import BLK, NET, Boot, Guest, run
from tests.vm.qmp import Qmp

HOT_AT = "0000:00:10.0"

Boots = dict[tuple[str, str], Future[Boot]]

_PLUG = (
    oracle.SYSFS
    + f"""
await() {{
    n=0
    until eval "$1"; do
        n=$((n + 1)); [ $n -lt 400 ] || {{ at "never: $1"; return; }}
        sleep 0.05
    done
}}
there='[ -e /sys/bus/pci/devices/{HOT_AT}/virtio*/driver ]'
show_bus start
ask add
await "$there"
show_bus added
ask remove
await '[ ! -e /sys/bus/pci/devices/{HOT_AT} ]'
show_bus removed
ask add-again
await "$there"
show_bus again
echo "ask: wake" >/dev/kmsg
echo deep >/sys/power/mem_sleep
echo mem >/sys/power/state
slept=$?
at suspend
echo $slept
show_bus final
"""
)


def _plugged(qmp: Qmp) -> bool:
    devices = qmp.command("qom-list", path="/machine/peripheral")
    return "hot" in [device["name"] for device in devices]


def _host(name: str, qmp: Qmp) -> Any:
    """Plugs, unplugs or wakes."""
    if name == "remove":
        return qmp.command("device_del", id="hot")
    if name == "wake":
        _until(lambda: qmp.command("query-status")["status"] == "suspended")
        return qmp.command("system_wakeup")
    _until(lambda: not _plugged(qmp))  # the guest releases it before QEMU does
    return qmp.command(
        "device_add", driver="virtio-net-pci", id="hot", netdev="hot0", romfile="", addr="10.0"
    )


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


_ASYNC = oracle.SYSFS + "rmmod virtio_net; modprobe virtio_net\nsleep 1\nshow_bus final"
_PARAMETER = "initcall_debug driver_async_probe=virtio_net,virtio_blk"

GUESTS = {
    "6.12": Guest("6.12", _PLUG, (*NET, *BLK, "-netdev", "user,id=hot0"), seconds=25, host=_host),
    "6.1": Guest("6.1", _ASYNC, (*NET, *BLK), append=_PARAMETER),
}


def at(things: list[dict[str, Any]], member: str) -> list[dict[str, Any]]:
    return [thing for thing in things if thing[member] == HOT_AT]


def calls(booted: Boot, probe: str) -> list[dict[str, Any]]:
    return [line for line in booted.events() if line.get("probe") == probe]


@pytest.fixture(scope="module")
def plugged(boots: Boots) -> Boot:
    """The guest whose host plugs, unplugs and wakes."""
    return boots[__name__, "6.12"].result()


@pytest.fixture(scope="module")
def handed_on(boots: Boots) -> Boot:
    """The guest whose kernel probes on other threads than the one that matched."""
    return boots[__name__, "6.1"].result()


def test_the_host_did_what_it_says(plugged: Boot) -> None:
    """By sysfs alone. Without this, the other tests prove nothing."""

    def there(section: str) -> bool:
        return HOT_AT in oracle.devices(plugged.sections[section])

    assert [name for name in plugged.sections if name.startswith("never")] == []
    assert [there(name) for name in ("start", "added", "removed", "again", "final")] == [
        False, True, False, True, True,
    ]  # fmt: skip
    assert plugged.answers.keys() == {"add", "remove", "add-again", "wake"}
    assert plugged.sections["suspend"] == ["0"]


def test_a_plugged_device_is_one_address_and_a_new_generation(plugged: Boot) -> None:
    first, second = at(plugged.report()["devices"], "address")
    assert [(d["generation"], d["state"], d["driver"]) for d in (first, second)] == [
        (0, "removed", None), (1, "bound", "virtio_net"),
    ]  # fmt: skip
    assert first["registered_ns"] < first["removed_ns"] < second["registered_ns"]
    again = oracle.devices(plugged.sections["again"])[HOT_AT]
    assert (second["name"], second["id"], second["snapshot"]) == (again.name, again.id, False)


def test_a_plugged_device_shows_the_whole_path_each_time(plugged: Boot) -> None:
    """Also virtio_pci_probe, which is built in: it was armed before the device was plugged in."""
    for probe in ("virtio_pci_probe", "register_virtio_device", "virtio_dev_probe", "driver_probe"):
        mine = [
            line
            for line in calls(plugged, probe)
            if line["kind"] == "entry" and line["device"]["address"] == HOT_AT
        ]
        assert len(mine) == 2, probe
    bindings = at(plugged.report()["bindings"], "device")
    assert [(b["generation"], b["function"], b["result"]) for b in bindings] == [
        (0, "virtnet_probe", 0), (1, "virtnet_probe", 0),
    ]  # fmt: skip
    assert bindings[0]["unbound_ns"] is not None
    assert bindings[1]["unbound_ns"] is None
    _, found = plugged.check()
    steps = {
        (step["id"], step["ok"]) for step in found["steps"] if step["subject"].startswith(HOT_AT)
    }
    assert steps == {
        (name, True)
        for name in (
            "transport-probed", "device-registered", "pair-matched", "bus-probed", "driver-probed",
            "host-status", "host-features", "host-queues",
        )
    }  # fmt: skip


def test_the_plugged_devices_probes_are_those_of_initcall_debug(plugged: Boot) -> None:
    name = oracle.devices(plugged.sections["again"])[HOT_AT].name
    theirs = oracle.probes(plugged.kernel_log, name)
    ours = at(plugged.report()["bindings"], "device")
    assert [(b["name"], b["result"]) for b in ours] == [(p.device, -p.result) for p in theirs]
    oracle.same_time([b["duration_ns"] for b in ours], theirs)


def test_sleep_freezes_and_restores_every_device(plugged: Boot) -> None:
    final = oracle.devices(plugged.sections["final"])
    for probe in ("virtio_device_freeze", "virtio_device_restore"):
        lines = calls(plugged, probe)
        entered = [line["device"]["address"] for line in lines if line["kind"] == "entry"]
        assert sorted(entered) == sorted(final), probe
        results = [line["result"] for line in lines if line["kind"] == "return"]
        assert results == [0] * len(final), probe
        assert probe in plugged.read("script").stdout
    frozen = calls(plugged, "virtio_device_freeze")[-1]["ns"]
    restored = calls(plugged, "virtio_device_restore")[0]["ns"]
    assert frozen < restored


def test_a_device_that_slept_is_bound_as_before(plugged: Boot) -> None:
    """One binding, and a second negotiation: a reset and all bits again, as sysfs shows now."""
    report = plugged.report()
    restored = calls(plugged, "virtio_device_restore")[0]["ns"]
    for address, device in oracle.devices(plugged.sections["final"]).items():
        ours = [d for d in report["devices"] if d["address"] == address][-1]
        assert (ours["state"], ours["driver"]) == ("bound", device.driver)
        live = [
            b for b in report["bindings"]
            if (b["device"], b["generation"]) == (address, ours["generation"])
        ]  # fmt: skip
        assert len(live) == 1
        writes = [write["value"] for write in ours["status"] if write["ns"] > restored]
        assert writes == [0x00, 0x01, 0x03, 0x0B, 0x0F]
        assert writes[-1] == device.status


def test_probes_on_other_threads_are_still_one_binding(handed_on: Boot) -> None:
    """driver_async_probe: the thread that registers the driver matches, a kworker probes."""
    log = handed_on.kernel_log
    assert "driver_async_probe=" in log
    bindings = handed_on.report()["bindings"]
    theirs = oracle.virtio_probes(log)
    assert [(b["name"], b["result"]) for b in bindings] == [(p.device, -p.result) for p in theirs]
    assert [b["function"] for b in bindings] == ["virtnet_probe", "virtblk_probe", "virtnet_probe"]
    matched = [line for line in calls(handed_on, "virtio_dev_match") if line.get("result") == 1]
    probed = [line for line in calls(handed_on, "virtio_dev_probe") if line["kind"] == "entry"]
    assert len(probed) == len(bindings)
    for line in probed:
        before = [match["tid"] for match in matched if match["ns"] < line["ns"]]
        assert before
        assert line["tid"] != before[-1]
    status, found = handed_on.check()
    assert (found["verdict"], status) == ("CONFORMS", 0)


def test_the_timeline_of_probes_on_other_threads(handed_on: Boot) -> None:
    """A track per device and per thread; probes take as long as the kernel says."""
    done = run("report", "--format", "perfetto", str(handed_on.recording))
    assert done.returncode == 0
    shown = traceevents.tracks(traceevents.read(done.stdout))
    for process in ("VirtIO devices", "kernel code by thread"):
        probes = sorted(
            (end, end - start, begun["args"]["thread"])
            for (of, _), slices in shown.items()
            for begun, start, end in slices
            if of == process and begun["cat"] == "virtio_dev_probe"
        )
        oracle.same_time(
            [took for _, took, _ in probes], oracle.virtio_probes(handed_on.kernel_log)
        )
        assert all(thread.startswith("kworker/") for _, _, thread in probes)
