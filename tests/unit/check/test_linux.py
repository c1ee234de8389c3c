# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile linux must be able to fail: each step's events are removed, moved, or given an errno.

The base is the recording of a real boot that conforms; see tests/golden/README.md.
"""

from __future__ import annotations

import random

import pytest

from tests.unit.surgery import Line, Where, at, change, dump, golden, judge, mend, move, remove
from virtio_trace.check import linux_steps, verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE
from virtio_trace.errors import BadInputError
from virtio_trace.graph import builder
from virtio_trace.recording import reader

NET = "0000:00:02.0"
CONFORMING = ("debian-6.1", "debian-6.1-rebind")
HOST = {step.id for step in linux_steps.HOST_STEPS}  # test_host_rules.py


@pytest.fixture
def lines() -> list[Line]:
    return golden("debian-6.1")


def module(name: str) -> Where:
    return lambda line: line["kind"] == "module" and line["module"] == name


def condemned(lines: list[Line], step: str, subject: str, verdict: str = DEVIATES) -> None:
    """VERDICT results, with a finding for STEP and SUBJECT."""
    result = judge(lines)
    assert result.verdict == verdict
    findings = [f for f in result.findings if (f.step, f.subject) == (step, subject)]
    assert findings, result.findings
    if verdict == DEVIATES:
        assert any(finding.severity == ERROR for finding in findings)
        assert any(s.id == step and s.subject == subject and s.ok is False for s in result.steps)


@pytest.mark.parametrize("name", CONFORMING)
def test_the_whole_recordings_conform(name: str) -> None:
    result = judge(golden(name))
    assert result.verdict == CONFORMS, result.findings
    assert {step.id for step in result.steps} - HOST == set(linux_steps.BY_ID)
    assert all(step.ok for step in result.steps)


REMOVED = {
    "bus-registered": (at("bus_register"), "virtio"),
    "driver-loaded": (module("virtio_net"), "virtio_net"),
    "driver-registered": (at("register_virtio_driver", driver="virtio_net"), "virtio_net"),
    "transport-probed": (at("virtio_pci_probe", NET), NET),
    "device-registered": (at("register_virtio_device", NET), NET),
    "pair-matched": (at("virtio_dev_match", NET, "virtio_net"), NET),
    "bus-probed": (at("virtio_dev_probe", NET), NET),
    "driver-probed": (at("driver_probe", NET), NET),
}


@pytest.mark.parametrize("step", linux_steps.BY_ID)
def test_without_the_steps_events(step: str, lines: list[Line]) -> None:
    where, subject = REMOVED[step]
    condemned(remove(lines, where), step, subject)


def test_a_recording_need_not_list_a_transport_that_no_device_has(lines: list[Line]) -> None:
    """It may be older than what is known of the transport; a device's own it must list."""
    cut = remove(lines, at("virtio_pci_probe", NET))
    for probe, proven in (("virtio_mmio_probe", True), ("virtio_pci_probe", False)):
        for line in (cut[0], cut[-1]):
            line["probes"] = [state for state in line["probes"] if state["probe"] != probe]
        found = [f.severity for f in judge(cut).findings if f.step == "transport-probed"]
        assert (ERROR in found) == proven
        assert found


def test_a_modern_probe_that_failed_is_made_up_for_by_the_legacy_one_alone(
    lines: list[Line],
) -> None:
    modern = at("virtio_pci_modern_probe", kind="return")
    condemned(change(lines, modern, result=-22), "transport-probed", NET)
    legacy, address = golden("debian-6.1-failures"), "0000:00:04.0"
    before = [f for f in judge(legacy).findings if f.subject == address]
    assert [(f.severity, f.step) for f in before] == [("note", "transport-probed")]
    modern = at("virtio_pci_modern_probe", address, kind="return")
    condemned(change(legacy, modern, result=-22), "transport-probed", address)
    modern = at("virtio_pci_legacy_probe", address, kind="return")
    condemned(change(legacy, modern, result=-12), "transport-probed", address)


@pytest.mark.parametrize("step", linux_steps.BY_ID)
def test_without_the_steps_events_and_with_losses_it_is_unknown(
    step: str, lines: list[Line]
) -> None:
    where, subject = REMOVED[step]
    cut = remove(lines, where)
    cut[-1]["lost"] = 1
    condemned(cut, step, subject, INCOMPLETE)


@pytest.mark.parametrize("name", [*CONFORMING, "debian-6.12-rebind"])
def test_what_was_lost_is_never_held_against_the_kernel(name: str) -> None:
    header, *events, trailer = golden(name)
    chance = random.Random(2)
    for _ in range(300):
        size, start = chance.choice((1, 2, 3, 5, 10, 30)), chance.randrange(len(events))
        block = events[:start] + events[start + size :]
        scattered = sorted(chance.sample(range(len(events)), max(1, len(events) - size)))
        for kept in (block, [events[number] for number in scattered], events[:start]):
            result = judge([header, *kept, trailer])
            assert result.verdict == INCOMPLETE, (size, start, scattered, result.findings)
            if kept == events[:start]:  # a guest that died
                assert judge([header, *kept]).verdict == INCOMPLETE


FAILED = {
    "bus-registered": (at("bus_register", kind="return"), -22, "virtio"),
    "driver-registered": (
        at("register_virtio_driver", driver="virtio_net", kind="return"), -17, "virtio_net",
    ),
    "transport-probed": (at("virtio_pci_probe", NET, kind="return"), -19, NET),
    "device-registered": (at("register_virtio_device", NET, kind="return"), -12, NET),
    "pair-matched": (at("virtio_dev_match", NET, "virtio_net", "return"), 0, NET),
    "bus-probed": (at("virtio_dev_probe", NET, kind="return"), -22, NET),
    "driver-probed": (at("driver_probe", NET, kind="return"), -12, NET),
}  # fmt: skip


@pytest.mark.parametrize("step", FAILED)
def test_with_an_errno(step: str, lines: list[Line]) -> None:
    where, errno, subject = FAILED[step]
    if step == "bus-probed":  # as in the kernel: validate failed, and nothing else was called
        lines = remove(lines, at("driver_probe", NET))
    condemned(change(lines, where, result=errno), step, subject)


def test_every_step_but_the_load_can_fail_with_an_errno() -> None:
    assert set(linux_steps.BY_ID) - set(FAILED) == {"driver-loaded"}


MOVED = {
    "bus-registered": (at("bus_register"), at("register_virtio_driver"), "virtio"),
    "driver-loaded": (
        module("virtio_net"), at("register_virtio_driver", driver="virtio_net"), "virtio_net",
    ),
    "driver-registered": (
        at("register_virtio_driver", driver="virtio_net"),
        at("virtio_dev_probe", NET),
        "virtio_net",
    ),
    "transport-probed": (at("virtio_pci_probe", NET), at("register_virtio_device", NET), NET),
    "device-registered": (at("register_virtio_device", NET), at("virtio_pci_probe", NET), NET),
    "pair-matched": (at("virtio_dev_match", NET), at("virtio_dev_probe", NET), NET),
    "bus-probed": (at("virtio_dev_probe", NET), at("driver_probe", NET), NET),
    "driver-probed": (at("driver_probe", NET), at("virtio_dev_probe", NET), NET),
}  # fmt: skip


@pytest.mark.parametrize("step", linux_steps.BY_ID)
def test_with_the_steps_events_after_what_follows_them(step: str, lines: list[Line]) -> None:
    where, after, subject = MOVED[step]
    moved = move(lines, where, after)
    if step == "bus-probed":
        condemned(moved, "driver-probed", subject)  # the driver's probe ran outside it
    else:
        condemned(moved, step, subject)


@pytest.mark.parametrize("name", CONFORMING)
def test_dropping_any_one_line_leaves_no_conforms(name: str) -> None:
    whole = dump(golden(name))
    for number in range(len(whole)):
        try:
            read = reader.read(whole[:number] + whole[number + 1 :], name)
        except BadInputError:
            assert number == 0
            continue
        assert verdict.check(builder.build(read)).verdict != CONFORMS, f"line {number + 1}"


def test_a_driver_that_is_not_the_structs(lines: list[Line]) -> None:
    condemned(
        change(lines, at("driver_probe", NET), function="another_probe"), "driver-probed", NET
    )


def test_a_match_that_the_id_table_does_not_have(lines: list[Line]) -> None:
    header = lines[0]
    for driver in header["evidence"]["drivers"]:
        if driver["name"] == "virtio_net":
            driver["ids"] = [[99, 0xFFFFFFFF]]
    condemned(lines, "pair-matched", NET)


@pytest.mark.parametrize("result", [1, -5])
def test_a_scan_that_no_binding_followed_answers_as_the_id_table(
    result: int, lines: list[Line]
) -> None:
    other = at("virtio_dev_match", NET, "virtio_rng", "return")
    condemned(change(lines, other, result=result), "pair-matched", NET)


def test_a_scan_that_refuses_what_the_id_table_has() -> None:
    rebind = golden("debian-6.1-rebind")
    place = next(
        number for number, line in enumerate(rebind)
        if "seq" in line and at("virtio_dev_match", NET, "virtio_net")(line)
    )  # fmt: skip
    again = [
        {**line, "result": 0} if "result" in line else line for line in rebind[place : place + 2]
    ]
    condemned(mend([*rebind[:place], *again, *rebind[place:]]), "pair-matched", NET)


def test_any_call_that_had_not_returned_is_incomplete() -> None:
    gone = remove(golden("debian-6.1-rebind"), at("virtio_dev_remove", kind="return"))
    assert judge(gone).verdict == INCOMPLETE


def test_an_unbound_device_whose_driver_never_came(lines: list[Line]) -> None:
    names = ("virtio_dev_match", "virtio_dev_probe", "driver_probe", "register_virtio_driver")
    gone = remove(lines, lambda line: line.get("driver") == "virtio_net" and line["probe"] in names)
    condemned(gone, "pair-matched", NET)


def test_a_device_without_a_driver_in_the_kernel_is_a_warning(lines: list[Line]) -> None:
    gone = remove(lines, lambda line: line.get("driver") == "virtio_net")
    header = gone[0]["evidence"]
    header["drivers"] = [d for d in header["drivers"] if d["name"] != "virtio_net"]
    result = judge(gone)
    assert result.verdict == CONFORMS
    assert [(f.severity, f.subject) for f in result.findings] == [("warning", NET)]


def test_where_a_file_could_not_be_read_no_driver_is_not_said(lines: list[Line]) -> None:
    gone = remove(lines, lambda line: line.get("driver") == "virtio_net")
    header = gone[0]["evidence"]
    header["drivers"] = [d for d in header["drivers"] if d["name"] != "virtio_net"]
    header["unread"] = {"kernel/drivers/net/virtio_net.ko": "is empty"}
    condemned(gone, "pair-matched", NET, INCOMPLETE)


def test_a_match_by_a_driver_without_a_file_proves_nothing(lines: list[Line]) -> None:
    names = ("virtio_dev_probe", "driver_probe")
    gone = remove(lines, lambda line: line.get("driver") == "virtio_net" and line["probe"] in names)
    header = gone[0]["evidence"]
    header["drivers"] = [d for d in header["drivers"] if d["name"] != "virtio_net"]
    condemned(gone, "pair-matched", NET, INCOMPLETE)


def test_a_probe_that_was_not_armed_makes_the_verdict_incomplete(lines: list[Line]) -> None:
    for probe in lines[-1]["probes"]:
        if probe["probe"] == "virtio_dev_match":
            probe.update(state="not armed", reason="refused")
    assert judge(lines).verdict == INCOMPLETE
    # what is proven stays proven
    failed = change(lines, at("driver_probe", NET, kind="return"), result=-5)
    condemned(failed, "driver-probed", NET)


def test_missed_hits_make_the_verdict_incomplete(lines: list[Line]) -> None:
    lines[-1]["probes"][0]["missed"] = 1
    assert judge(lines).verdict == INCOMPLETE


def test_a_call_that_had_not_returned_is_unknown(lines: list[Line]) -> None:
    stop = next(i for i, line in enumerate(lines) if "seq" in line and at("driver_probe")(line))
    cut = mend([*lines[: stop + 1], lines[-1]])
    condemned(cut, "bus-probed", NET, INCOMPLETE)


def test_nothing_seen_is_incomplete(lines: list[Line]) -> None:
    assert judge(mend([lines[0], lines[-1]])).verdict == INCOMPLETE


def test_what_was_there_before_is_never_passed(lines: list[Line]) -> None:
    """The drivers were recorded, but the devices were on the bus before: Debian 6.12 and later."""
    result = judge(golden("debian-6.12-rebind"))
    assert result.verdict == INCOMPLETE
    assert not [finding for finding in result.findings if finding.severity == ERROR]
    rebound = [s for s in result.steps if s.subject == NET and s.ok]
    assert {step.id for step in rebound} >= {
        "transport-probed", "device-registered", "pair-matched", "bus-probed", "driver-probed",
    }  # fmt: skip


def upto(lines: list[Line], last: Where) -> list[Line]:
    """The recording as if it had ended after the last event that LAST matches."""
    end = max(i for i, line in enumerate(lines) if "seq" in line and last(line))
    return mend([*lines[: end + 1], lines[-1]])


def test_a_device_that_is_unbound_at_the_end_although_a_driver_matches_it() -> None:
    """The recording ends after the unbinding, before the binding that followed."""
    first = upto(golden("debian-6.1-rebind"), at("virtio_dev_remove", NET, kind="return"))
    condemned(first, "pair-matched", NET)


def test_a_device_that_was_removed_is_not_unbound() -> None:
    """The recording unbinds 04.0 from virtio-pci; it ends before the device is bound again."""
    rng = "0000:00:04.0"
    cut = upto(golden("debian-6.1-rebind"), at("unregister_virtio_device", rng, kind="return"))
    assert judge(cut).verdict == CONFORMS


def test_a_probe_that_is_still_deferred(lines: list[Line]) -> None:
    deferred = change(lines, at("virtio_dev_probe", NET, kind="return"), result=-517)
    condemned(remove(deferred, at("driver_probe", NET)), "bus-probed", NET)


def test_a_device_that_was_unbound_before_the_recording_began() -> None:
    lines = golden("debian-6.12-rebind")
    lines = remove(lines, lambda line: line.get("device", {}).get("address") == NET)
    (device,) = (d for d in lines[0]["snapshot"]["devices"] if d["address"] == NET)
    device["driver"] = None
    lines[0]["snapshot"]["drivers"].append({"name": "virtio_net", "module": "virtio_net"})
    condemned(
        remove(lines, lambda line: line.get("driver") == "virtio_net"),
        "pair-matched",
        NET,
        DEVIATES,
    )


def test_where_the_drivers_probe_was_not_armed_nothing_is_said_of_it() -> None:
    lines = golden("debian-6.1-failures")
    for probe in (
        "driver_validate",
        "virtio_features_ok",
    ):  # then only the result of virtio_dev_probe is left
        lines = remove(lines, at(probe))
    said = [f.message for f in judge(lines).findings if f.step == "bus-probed"]
    assert all("own probe function" in message for message in said) and len(said) == 2
    for probe in lines[-1]["probes"]:
        if probe["probe"] == "driver_probe":
            probe.update(state="not armed", reason="refused")
    said = [f.message for f in judge(lines).findings if f.step == "bus-probed"]
    assert not any("own probe function" in message for message in said) and len(said) == 2
