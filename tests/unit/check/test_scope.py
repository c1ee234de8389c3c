# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict about what was asked for: what concerns only others does not count, a loss does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.surgery import Line, at, change, dump, golden, judge, mend, remove
from virtio_trace.check import named
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE, RECORDING, Finding
from virtio_trace.errors import UsageError
from virtio_trace.recording import reader
from virtio_trace.recording.live_part import LivePart
from virtio_trace.recording.reader import Recording

NET, DISK, RNG, OTHER_NET, SCSI = (f"0000:00:{slot:02x}.0" for slot in range(2, 7))
PROFILES = ("linux", "spec")


@pytest.fixture
def lines() -> list[Line]:
    """vda was rebound; it and four others were there before."""
    return golden("debian-6.1-live")


def recorded(lines: list[Line]) -> Recording:
    return reader.read(dump(lines), "scope")


def complaints(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.severity != "note" and not f.before]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_perfect_rebind_conforms(lines: list[Line], profile: str) -> None:
    result = judge(lines, profile, ("vda",))
    assert result.verdict == CONFORMS
    assert complaints(result.findings) == []
    assert {step.subject for step in result.steps if step.ok} == {DISK}
    assert result.scope.to_json() == {"scope": {"devices": [DISK], "drivers": ["virtio_blk"]}}
    assert judge(lines, profile).verdict == INCOMPLETE


def test_what_was_there_before_is_marked(lines: list[Line]) -> None:
    result = judge(lines)
    assert complaints(result.findings) == []
    assert all(step.before for step in result.steps if step.ok is None)
    assert len([f for f in result.findings if f.before]) > 15


@pytest.mark.parametrize("name", [DISK, "virtio1", "vda", "/dev/vda"])
def test_the_names_of_a_device(lines: list[Line], name: str) -> None:
    assert named.scope(recorded(lines), (name,), ()).addresses == {DISK}


def test_a_disk_of_a_controller_names_the_controller(lines: list[Line]) -> None:
    assert named.scope(recorded(lines), ("sda",), ()).addresses == {SCSI}


def test_an_unknown_name_lists_what_there_is(lines: list[Line]) -> None:
    with pytest.raises(UsageError) as raised:
        named.scope(recorded(lines), ("vda", "vdx"), ())
    assert str(raised.value) == "no device is called vdx"
    assert f"{NET} (virtio0, eth0, net)" in raised.value.hint
    with pytest.raises(UsageError) as raised:
        named.scope(recorded(lines), (), ("virtio_nothing",))
    assert "virtio_blk, virtio_net, virtio_rng" in raised.value.hint
    with pytest.raises(UsageError, match="virtio_net has nothing to do with vda"):
        named.scope(recorded(lines), ("vda",), ("virtio_net",))


def test_a_driver_stands_for_all_its_devices(lines: list[Line]) -> None:
    scope = named.scope(recorded(lines), (), ("virtio_net",))
    assert scope.addresses == {NET, OTHER_NET}
    assert named.scope(recorded(lines), ("eth0",), ("virtio_net",)).addresses == {NET}


def test_a_device_of_which_nothing_was_recorded(lines: list[Line]) -> None:
    result = judge(lines, devices=("eth0",))
    assert result.verdict == INCOMPLETE
    (finding,) = complaints(result.findings)
    assert (finding.step, finding.subject) == (RECORDING, NET)
    assert judge(lines, devices=("eth0", "vda")).verdict == INCOMPLETE


def test_others_that_fail_do_not_count() -> None:
    lines = golden("debian-6.1-failures")
    assert judge(lines).verdict == DEVIATES
    assert judge(lines, drivers=("virtio_rng",)).verdict == CONFORMS
    assert judge(lines, devices=("0000:00:04.0",)).verdict == CONFORMS
    result = judge(lines, drivers=("virtio_net",))
    assert result.verdict == DEVIATES
    errors = {f.subject for f in result.findings if f.severity == ERROR}
    assert errors == {"0000:00:03.0"} < result.scope.addresses


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("address", [NET, RNG])
def test_a_loss_concerns_everyone(profile: str, address: str) -> None:
    lines = golden("debian-6.1")
    assert judge(lines, profile, (address,)).verdict == CONFORMS
    lines[-1]["lost"] = 1
    assert judge(lines, profile, (address,)).verdict == INCOMPLETE
    assert judge(lines[:-1], profile, (address,)).verdict == INCOMPLETE


def test_a_loss_in_the_middle() -> None:
    """In debian-6.1-lossy, events of net and blk were lost, but whose they were is not known."""
    assert judge(golden("debian-6.1-lossy"), drivers=("virtio_rng",)).verdict == INCOMPLETE


@pytest.mark.parametrize(
    ("probe", "function", "verdict"),
    [
        ("virtio_dev_probe", "virtio_dev_probe", INCOMPLETE),
        ("virtio_dev_remove", "virtio_dev_remove", INCOMPLETE),
        ("register_virtio_driver", "register_virtio_driver", INCOMPLETE),
        ("virtio_pci_probe", "virtio_pci_probe", INCOMPLETE),
        ("driver_probe", "virtblk_probe", INCOMPLETE),
        ("driver_probe", "virtnet_probe", CONFORMS),
        ("driver_probe", "of_no_driver_in_the_evidence", INCOMPLETE),
        ("virtio_mmio_probe", "virtio_mmio_probe", CONFORMS),
    ],
)
@pytest.mark.parametrize("members", [{"state": "not armed", "reason": "no"}, {"missed": 2}])
def test_a_probe_point_that_it_needs(
    lines: list[Line], probe: str, function: str, verdict: str, members: dict[str, Any]
) -> None:
    for line in (lines[0], lines[-1]):
        known = next(
            (p for p in line["probes"] if (p["probe"], p["function"]) == (probe, function)), None
        )
        if known is None:
            known = {"probe": probe, "function": function, "module": None, "state": "armed"}
            line["probes"].append(known)
        known.update(members)
    assert judge(lines, devices=("vda",)).verdict == verdict


@pytest.mark.parametrize(
    ("function", "verdict"), [("vp_reset", INCOMPLETE), ("vm_reset", CONFORMS)]
)
def test_functions_of_another_transport(lines: list[Line], function: str, verdict: str) -> None:
    for state in lines[-1]["probes"]:
        if state["function"] == function:
            state.update(state="not armed", reason="no")
    assert judge(lines, "spec", ("vda",)).verdict == verdict


@pytest.mark.parametrize(("address", "verdict"), [(RNG, INCOMPLETE), (NET, CONFORMS)])
def test_a_call_that_had_not_returned(address: str, verdict: str) -> None:
    """The recorder stops while rng's virtio_dev_probe runs; net was bound before that."""
    lines = golden("debian-6.1")
    last = next(n for n, e in enumerate(lines) if at("virtio_dev_probe", RNG, kind="entry")(e))
    tid = lines[last]["tid"]
    cut = [e for n, e in enumerate(lines) if n <= last or "seq" not in e or e["tid"] != tid]
    assert judge(mend(cut), devices=(address,)).verdict == verdict


def test_the_init_function_of_its_driver(lines: list[Line]) -> None:
    """It has not returned: it may still do what was not seen."""
    entry = next(e for e in golden("debian-6.1") if e.get("probe") == "do_init_module")
    for module, verdict in (("virtio_blk", INCOMPLETE), ("virtio_net", CONFORMS)):
        event = {**entry, "detail": {"name": module}, "tid": 9999, "ns": lines[-2]["ns"]}
        cut = mend([*lines[:-1], event, lines[-1]])
        assert judge(cut, devices=("vda",)).verdict == verdict


def test_a_missing_call_is_an_error(lines: list[Line]) -> None:
    result = judge(remove(lines, at("driver_probe", DISK)), devices=("vda",))
    assert result.verdict == DEVIATES


def test_a_rebind_that_fails(lines: list[Line]) -> None:
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, DISK, kind="return"), result=-12)
    assert judge(lines, devices=("vda",)).verdict == DEVIATES


def test_the_bus_concerns_every_device() -> None:
    lines = golden("debian-6.1")
    failed = change(lines, at("bus_register", kind="return"), result=-17)
    assert judge(failed, drivers=("virtio_rng",)).verdict == DEVIATES


def test_a_file_that_could_not_be_read() -> None:
    """It may have the driver of a device whose driver is not in the evidence."""
    lines = golden("debian-6.1")
    evidence = lines[0]["evidence"]
    evidence["unread"] = {"kernel/x.ko": "damaged"}
    assert judge(lines).verdict == INCOMPLETE
    assert judge(lines, devices=(RNG,)).verdict == CONFORMS
    evidence["drivers"] = [d for d in evidence["drivers"] if d["name"] != "virtio_rng"]
    found = judge(lines, devices=(RNG,)).findings
    assert any("kernel/x.ko could not be read" in finding.message for finding in found)


def test_names_pass_to_other_devices(lines: list[Line]) -> None:
    """A name that two devices had while the recording ran stands for both."""
    final = lines[-1]["final"]["devices"]
    for device in final:
        if device["address"] == RNG:
            device["carries"] = ["vda"]
    assert named.scope(recorded(lines), ("vda",), ()).addresses == {DISK, RNG}


def test_a_pci_function_without_a_driver(lines: list[Line]) -> None:
    """virtio-pci was never there: only the PCI functions' ids tell which driver would match."""
    lines[0]["snapshot"] = {"bus": False, "devices": [], "drivers": []}
    lines[-1]["final"] |= {"devices": [], "drivers": []}
    scope = named.scope(recorded(mend([lines[0], lines[-1]])), (), ("virtio_net",))
    assert scope.addresses == {NET, OTHER_NET}


def test_what_was_lost_at_boot_is_not_of_the_live_part() -> None:
    lines = golden("debian-6.12")
    boot = lines[0]["boot"]
    boot["lost"] = lines[-1]["lost"] = 5
    whole = recorded(lines)
    part = LivePart(whole)
    assert (whole.lost, part.lost) == (5, 0)
    for _ in range(2):
        events = list(part)
        assert part.skipped == boot["events"]
        assert [event.seq for event in events] == list(range(1, part.count + 1))
        assert part.count == part.last_seq == whole.count - boot["events"]
        assert part.first_ns == events[0].ns
    assert part.is_whole and part.header.boot is None
    lines[-1]["lost"] = 6
    assert LivePart(recorded(lines)).lost == 1


def test_a_recording_without_events_of_boot_is_live(lines: list[Line]) -> None:
    whole = recorded(lines)
    assert list(LivePart(whole)) == list(whole)
