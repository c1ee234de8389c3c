# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording that contradicts itself is not passed, and not held against the kernel."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.surgery import Line, Where, at, change, golden, judge, mend, remove
from virtio_trace.check.findings import CONFORMS, ERROR, INCOMPLETE

NET, RNG = "0000:00:02.0", "0000:00:04.0"
RECORDINGS = ("debian-6.1", "debian-6.1-rebind", "debian-6.1-suspend", "debian-6.12")
CORE = ("bus_register", "register_virtio_driver", "unregister_virtio_driver",
        "register_virtio_device", "unregister_virtio_device", "virtio_dev_match",
        "virtio_dev_probe", "virtio_dev_remove", "driver_probe")  # fmt: skip


def incomplete(lines: list[Line], profile: str = "linux") -> list[str]:
    """The findings about the recording itself; the verdict is INCOMPLETE without an error."""
    result = judge(lines, profile)
    assert result.verdict == INCOMPLETE, result.findings
    assert not [f for f in result.findings if f.severity == ERROR]
    return [f.message for f in result.findings if f.step == "recording"]


@pytest.mark.parametrize("profile", ["linux", "spec"])
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("state", [None, "absent", "waiting"])
def test_without_a_list_of_probe_points(name: str, profile: str, state: str | None) -> None:
    lines = golden(name)
    assert judge(lines, profile).verdict == CONFORMS
    for line in (lines[0], lines[-1], lines[0].get("boot") or {}):
        known = line.get("probes", [])
        line["probes"] = [{**probe, "state": state} for probe in known] if state else []
    assert incomplete(lines, profile)


@pytest.mark.parametrize("state", ["gone", "absent", "waiting"])
@pytest.mark.parametrize("probe", CORE)
def test_a_probe_point_that_is_needed_and_not_listed(probe: str, state: str) -> None:
    lines = golden("debian-6.1-rebind")
    known = lines[-1]["probes"]
    lines[-1]["probes"] = [
        {**p, "state": state} if p["probe"] == probe else p
        for p in known
        if p["probe"] != probe or state != "gone"
    ]
    incomplete(lines)


@pytest.mark.parametrize("probe", CORE)
def test_what_is_missing_is_no_error_where_its_probe_point_is_not_listed(probe: str) -> None:
    lines = remove(golden("debian-6.1-rebind"), at(probe))
    lines[-1]["probes"] = [p for p in lines[-1]["probes"] if p["probe"] != probe]
    incomplete(lines)


def test_a_probe_point_that_waits_for_a_module_that_came() -> None:
    lines = golden("debian-6.1")
    lines = remove(lines, at("driver_probe", NET))
    for probe in lines[-1]["probes"]:
        if probe["function"] == "virtnet_probe":
            probe["state"] = "waiting"
    assert any("waiting for its module" in said for said in incomplete(lines))


def test_evidence_of_another_release() -> None:
    lines = golden("debian-6.1")
    lines[0]["evidence"]["release"] = "6.1.0-1-amd64"
    (said,) = incomplete(lines)
    assert "6.1.0-1-amd64" in said and "6.1.0-56-cloud-amd64" in said


@pytest.mark.parametrize("functions", [{"probe": None}, {}])
def test_evidence_that_names_no_probe_function(functions: dict[str, Any]) -> None:
    lines = golden("debian-6.1")
    for driver in lines[0]["evidence"]["drivers"]:
        driver["functions"] = functions
    incomplete(lines)


UNKNOWN: dict[str, tuple[Where, str]] = {
    "a device": (at("virtio_dev_probe", NET, kind="entry"), "device"),
    "a driver": (at("virtio_dev_match", NET, "virtio_net", "entry"), "driver"),
    "a registration": (at("register_virtio_driver", kind="entry"), "driver"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_event_that_does_not_say_what_it_is_about(name: str) -> None:
    where, member = UNKNOWN[name]
    lines = [
        {k: v for k, v in line.items() if k != member} if "seq" in line and where(line) else line
        for line in golden("debian-6.1")
    ]
    assert any("does not say what it is about" in said for said in incomplete(lines))


def test_a_device_whose_ids_change() -> None:
    lines = golden("debian-6.1")
    for line in lines:
        if "seq" in line and at("virtio_dev_match", NET, "virtio_rng")(line):
            line["device"] = {**line["device"], "index": 9}
    assert any("other ids" in said for said in incomplete(lines))


def test_events_of_what_was_not_armed() -> None:
    lines = golden("debian-6.1")
    for probe in lines[-1]["probes"]:
        if probe["function"] == "virtrng_probe":
            probe["module"] = "another"
    said = incomplete(lines)
    assert any("virtrng_probe [virtio_rng] has events" in message for message in said)


def test_an_error_names_events_or_is_none() -> None:
    """Only sysfs shows a PCI device without a driver; the error names the last event."""
    lines = golden("debian-6.12-deferred")
    found = [f for f in judge(lines).findings if f.severity == ERROR]
    assert found and all(f.events == (lines[-2]["seq"],) for f in found)
    nothing = judge(mend([lines[0], lines[-1]]))
    assert nothing.verdict == INCOMPLETE


def test_a_return_whose_call_is_another_threads() -> None:
    lines = golden("debian-6.1")
    incomplete(change(lines, at("virtio_dev_probe", RNG, kind="return"), tid=1))
