# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording with boot-time events of the kernel: what came before, and what was not seen.

The kernel of tests/golden/debian-6.12.vtr has the bus and the PCI transport built in.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.surgery import Line, at, dump, golden, judge, remove
from virtio_trace.check.findings import CONFORMS, INCOMPLETE
from virtio_trace.errors import BadInputError
from virtio_trace.graph import builder
from virtio_trace.recording import reader


@pytest.fixture
def lines() -> list[Line]:
    return golden("debian-6.12")


def probe(lines: list[Line], name: str) -> dict[str, Any]:
    """The state at boot of the first probe point called NAME."""
    return next(state for state in lines[0]["boot"]["probes"] if state["probe"] == name)


def test_it_conforms_and_nothing_was_there_before(lines: list[Line]) -> None:
    """The events show how the snapshot's three devices and three drivers were registered."""
    result = judge(lines)
    assert result.verdict == CONFORMS
    assert {f.severity for f in result.findings} == {"note"}
    snapshot = lines[0]["snapshot"]
    assert len(snapshot["devices"]) == len(snapshot["drivers"]) == 3
    found = builder.build(reader.read(dump(lines), "6.12"))
    assert [(d.generation, d.snapshot) for d in found.devices] == [(0, None)] * 3
    assert not any(driver.in_snapshot for driver in found.drivers.values())


@pytest.mark.parametrize(("module", "verdict"), [(None, CONFORMS), ("foreign", INCOMPLETE)])
def test_a_driver_that_no_file_has_is_built_in_where_sysfs_has_no_module_of_it(
    lines: list[Line], module: str | None, verdict: str
) -> None:
    """As on arm64, whose image does not tell what is built in."""
    inside = {d["name"] for d in lines[0]["evidence"]["drivers"] if d["builtin"]}
    assert "virtio_console" in inside
    evidence = lines[0]["evidence"]
    evidence["drivers"] = [d for d in evidence["drivers"] if not d["builtin"]]
    for known in lines[0]["snapshot"]["drivers"]:
        known["module"] = module if known["name"] in inside else known["module"]
    assert judge(lines).verdict == verdict


def test_without_the_events_of_boot_it_was_there_before(lines: list[Line]) -> None:
    snapshot_ns = lines[0]["snapshot_ns"]
    cut = remove(lines, lambda line: line["ns"] < snapshot_ns)
    assert judge(cut).verdict == INCOMPLETE
    found = builder.build(reader.read(dump(cut), "6.12"))
    assert all(device.snapshot is not None for device in found.devices)


def test_a_registration_after_the_snapshot_does_not_count(lines: list[Line]) -> None:
    """Only the time counts: what is in the snapshot existed when it was taken."""
    lines[0]["snapshot_ns"] = lines[1]["ns"] - 1
    found = builder.build(reader.read(dump(lines), "6.12"))
    assert [device.generation for device in found.devices] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("name", ["virtio_dev_match", "virtio_pci_probe", "virtio_dev_remove"])
def test_what_a_verdict_needs_and_was_not_armed_at_boot(lines: list[Line], name: str) -> None:
    state = probe(lines, name)
    state |= {"state": "not armed", "reason": "at boot: not on the kernel's command line"}
    result = judge(lines)
    assert result.verdict == INCOMPLETE
    (said,) = [f.message for f in result.findings if f.step == "recording"]
    assert f"{name} was not armed (at boot: not on" in said


def test_a_missing_scan_is_no_proof_where_it_was_not_armed_at_boot(lines: list[Line]) -> None:
    cut = remove(lines, lambda line: at("virtio_dev_match")(line) and line["ns"] < line_of(lines))
    probe(cut, "virtio_dev_match").update(state="not armed", reason="at boot: no room")
    result = judge(cut)
    assert result.verdict == INCOMPLETE
    assert not [f for f in result.findings if f.severity == "error"]


def line_of(lines: list[Line]) -> int:
    """The time of the snapshot, in ns."""
    return int(lines[0]["snapshot_ns"])


def test_what_it_needs_not_turns_nothing(lines: list[Line]) -> None:
    probe(lines, "set_status").update(state="not armed", reason="at boot: no room")
    assert judge(lines).verdict == CONFORMS


def test_missed_at_boot(lines: list[Line]) -> None:
    probe(lines, "virtio_dev_probe")["missed"] = 2
    result = judge(lines)
    assert result.verdict == INCOMPLETE
    assert any("2 hits were missed" in finding.message for finding in result.findings)


def test_lost_at_boot(lines: list[Line]) -> None:
    lines[-1]["lost"] = 5
    assert judge(lines).verdict == INCOMPLETE


@pytest.mark.parametrize(
    "damage", [{"boot": {}}, {"boot": {"probes": [{}]}}, {"boot": 3}, {"snapshot_ns": -1}]
)
def test_damage(lines: list[Line], damage: dict[str, Any]) -> None:
    lines[0] |= damage
    if damage == {"boot": {}}:
        reader.read(dump(lines), "damaged")  # the same as null: there was no boot-time recording
        return
    with pytest.raises(BadInputError):
        reader.read(dump(lines), "damaged")
