# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel recorded of its own boot, and the seam to the recorder's events: counted.

A guest's own boot is compared with initcall_debug and sysfs. In another, whose user gave the
parameters, its events are defined again, and a recorder in it takes them over while a disk is bound
and unbound all the time. Its events are compared with those of the boot's recorder, which was armed
throughout and left them alone, and with the kernel's own counts.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.vm import oracle
from tests.vm.guest import KERNELS, Boot, Guest, boot, run
from virtio_trace.vm.host import debian

_SCRIPT = oracle.SYSFS + "show_bus final; at clock; cat /sys/kernel/tracing/trace_clock"

_SEAM = r"""
t=/sys/kernel/tracing
# What the boot recorded goes, for counts to begin at nothing.
echo 0 >$t/events/vt/enable
sed -n 's,^[pr][0-9]*:\(vt/[^ ]*\) .*,-:\1,p' $t/kprobe_events >/run/undefine
while read -r line; do echo "$line" >>$t/kprobe_events; done </run/undefine
at defined; grep -c ':vt/' $t/kprobe_events
echo >$t/trace

# As at boot; functions of modules too, of the disk's driver among them.
sed 's/.*kprobe_event=//; s/ .*//' /proc/cmdline | tr ',;' ' \n' >/run/definitions
while read -r line; do echo "$line" >>$t/kprobe_events; done </run/definitions
echo 'p:count/match virtio_dev_match' >>$t/kprobe_events
echo 'r:count/probed virtio_dev_probe' >>$t/kprobe_events
echo 8192 >$t/buffer_size_kb
for group in vt count; do echo "$group:*" >>$t/set_event; done
cd /sys/bus/pci/drivers/virtio-pci
(
    while [ ! -e /run/stop ]; do
        echo 0000:00:03.0 >unbind
        echo 0000:00:03.0 >bind
        sleep 0.05
    done
) &
loop=$!
cd /
at inner
python3 -m virtio_trace record -q -o /run/inner.vtr -- sh -c 'sleep 2; touch /run/stop; sleep 2'
echo status $?
wait $loop
at counts; grep -E '^  (match|probed) ' $t/kprobe_profile
at left; grep -c ':vt/' $t/kprobe_events
echo '!count:*' >>$t/set_event; echo '-:count/match' >>$t/kprobe_events
echo '-:count/probed' >>$t/kprobe_events
at recording; gzip -c /run/inner.vtr | base64
at again; python3 -m virtio_trace record -q -o /run/second.vtr --duration 1
echo status $?; head -n 1 /run/second.vtr
"""

_CONSOLES = ("-device", "virtio-serial-pci,addr=05.0", "-device", "virtio-serial-pci,addr=06.0")

GUESTS = {
    "6.12": Guest("6.12", _SCRIPT),
    # Its consoles have 128 virtqueues, set up before the root is unpacked; its ring is too small.
    "small": Guest("6.12", "true", _CONSOLES, append="trace_buf_size=4K"),
}


def _with_parameters(folder: Path) -> Boot:
    """A guest with the parameters of ``cmdline`` for its kernel: ``boot`` leaves them alone."""
    kernel = debian.fetch(KERNELS["6.12"])
    files = ("--kernel", str(kernel.vmlinuz), "--modules", str(kernel.modules))
    done = run("cmdline", *files)
    assert done.returncode == 0, done.stderr
    append = f"initcall_debug {done.stdout.strip()}"
    return boot(Guest("6.12", _SEAM, append=append, python=True), folder)


BOOTS = {"seam": _with_parameters}


@pytest.fixture(scope="module")
def guest(boots: dict[tuple[str, str], Future[Boot]]) -> Boot:
    return boots[__name__, "6.12"].result()


@pytest.fixture(scope="module")
def small(boots: dict[tuple[str, str], Future[Boot]]) -> Boot:
    return boots[__name__, "small"].result()


@pytest.fixture(scope="module")
def seam(boots: dict[tuple[str, str], Future[Boot]]) -> Boot:
    return boots[__name__, "seam"].result()


@pytest.fixture(scope="module")
def inner(seam: Boot) -> list[dict[str, Any]]:
    text = gzip.decompress(base64.b64decode("".join(seam.sections["recording"])))
    return [json.loads(line) for line in text.splitlines()]


def _of(events: list[dict[str, Any]], probe: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in events if (event.get("probe"), event["kind"]) == (probe, kind)]


def test_it_conforms_though_the_transport_is_built_in(guest: Boot) -> None:
    _status, found = guest.check()
    assert [f for f in found["findings"] if f["severity"] != "note"] == []
    assert found["verdict"] == "CONFORMS"
    assert all(not device["snapshot"] for device in guest.report()["devices"])


def test_the_boots_probes_are_those_of_initcall_debug(guest: Boot) -> None:
    """Each once, with its result, and its time within theirs."""
    final = oracle.devices(guest.sections["final"])
    theirs = oracle.probes(guest.kernel_log, "|".join(map(re.escape, final)))[:3]
    ours = _of(guest.events(), "virtio_pci_probe", "return")
    assert [(e["device"]["address"], e["result"]) for e in ours] == [
        (p.device, -p.result) for p in theirs
    ]
    assert [p.device for p in theirs] == list(final)
    oracle.same_time([e["duration_ns"] for e in ours], theirs)


def test_every_device_is_registered_once_and_scanned_once_for_each_driver(guest: Boot) -> None:
    """No event is missing or doubled at the seam: the bus scans every pair once."""
    final = oracle.devices(guest.sections["final"])
    events = guest.events()
    for kind in ("entry", "return"):
        registered = _of(events, "register_virtio_device", kind)
        assert [e["device"]["address"] for e in registered] == list(final)
    drivers = [e["driver"] for e in _of(events, "register_virtio_driver", "entry")]
    assert len(drivers) == len(set(drivers)) == 6
    pairs = Counter(
        (e["driver"], e["device"]["address"]) for e in _of(events, "virtio_dev_match", "entry")
    )
    assert max(pairs.values()) == 1
    assert set(pairs) == {(driver, address) for driver in drivers for address in final}


def test_events_of_boot_say_as_much_as_the_programs(guest: Boot) -> None:
    first = _of(guest.events(), "virtio_dev_match", "entry")[0]
    assert first["device"]["bus"] == "pci" and first["device"]["id"] == 1
    statuses = [e for e in guest.events() if e.get("probe") == "set_status"]
    assert [e["detail"]["status"] for e in statuses[:3]] == [1, 1, 1]
    assert [e["device"]["index"] for e in statuses[:3]] == [0, 1, 2]


def test_they_are_taken_in_once(guest: Boot) -> None:
    header = guest.lines()[0]
    assert header["boot"]["events"] > 40
    assert (header["boot"]["lost"], header["boot"]["reason"]) == (0, None)
    armed = {p["probe"] for p in header["boot"]["probes"] if p["state"] == "armed"}
    assert armed >= {"virtio_pci_probe", "register_virtio_device", "virtio_dev_probe", "set_status"}
    assert "[mono]" in guest.sections["clock"][0]


def _seen(lines: list[dict[str, Any]], armed: set[tuple[str, str]]) -> dict[int, list[Any]]:
    """By thread, the events of the points that were ARMED at boot, in order."""
    found: dict[int, list[Any]] = {}
    for event in lines:
        if (event.get("probe"), event.get("function")) in armed:
            told = (event["kind"], event["probe"], event["function"], event.get("result"))
            more = event.get("device"), event.get("driver"), event.get("detail")
            found.setdefault(event["tid"], []).append((*told, *more))
    return found


def test_at_the_seam_nothing_is_twice_and_nothing_lost(
    seam: Boot, inner: list[dict[str, Any]]
) -> None:
    """Every event of the other recorder in the same time, in the same order by thread, with the
    same device, driver, result and detail."""
    header, *events, trailer = inner
    assert (trailer["kind"], trailer["lost"], header["boot"]["lost"]) == ("trailer", 0, 0)
    assert trailer["events"] == len(events)
    assert 200 < header["boot"]["events"] < len(events) - 50
    armed = {(p["probe"], p["function"]) for p in header["boot"]["probes"] if p["state"] == "armed"}
    assert ("driver_probe", "virtblk_probe") in armed
    # From the disk's registration on: before that, nothing tells whose pointer it is.
    first = _of(events, "virtio_pci_probe", "entry")[0]["ns"] - 1_000_000
    last = events[-1]["ns"] + 1_000_000
    ours, theirs = (
        _seen([event for event in lines if first <= event["ns"] <= last], armed)
        for lines in (events, seam.events())
    )
    assert ours.keys() == theirs.keys()
    for tid, found in ours.items():
        assert len(found) > 500
        for place, (mine, other) in enumerate(zip(found, theirs[tid], strict=False)):
            assert mine == other, place
        assert len(found) == len(theirs[tid])


def test_the_kernel_counted_as_many(seam: Boot, inner: list[dict[str, Any]]) -> None:
    counted = {line.split()[0]: int(line.split()[1]) for line in seam.sections["counts"]}
    assert counted["match"] == len(_of(inner[1:-1], "virtio_dev_match", "entry"))
    assert counted["probed"] == len(_of(inner[1:-1], "virtio_dev_probe", "return")) > 20


def test_the_stream_has_one_order_and_its_calls_return(inner: list[dict[str, Any]]) -> None:
    events = inner[1:-1]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    calls: Counter[tuple[str, int]] = Counter()
    for event in events:
        if event["kind"] in ("entry", "return"):
            key = (event["function"], event["tid"])
            calls[key] += 1 if event["kind"] == "entry" else -1
            assert calls[key] in (0, 1), event
    assert not any(calls.values())


def test_a_ring_that_ran_over_is_lost_events(small: Boot) -> None:
    """As many events as the kernel counted hits, and none missing."""
    header, *events, trailer = small.lines()
    lost = header["boot"]["lost"]
    assert lost > 50 and trailer["lost"] == lost
    assert events[0]["seq"] == lost + 1
    assert len(_of(events, "setup_vq", "return")) < 128
    status, found = small.check()
    assert (found["verdict"], status, small.status) == ("INCOMPLETE", 4, 4)
    assert any(f"{lost} events were lost" in finding["message"] for finding in found["findings"])
    assert not [f for f in found["findings"] if f["severity"] == "error"]


def test_a_recorder_removes_them(seam: Boot) -> None:
    """A second one finds nothing of them: older devices are in its snapshot."""
    assert (seam.sections["defined"], seam.sections["left"]) == (["0"], ["0"])
    status, line = seam.sections["again"][-2:]
    header = json.loads(line)
    assert (status, header["boot"]) == ("status 0", None)
    assert len(header["snapshot"]["devices"]) == 3
