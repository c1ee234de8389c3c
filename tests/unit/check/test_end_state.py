# SPDX-License-Identifier: GPL-2.0-or-later
"""sysfs at the end against the events: each contradiction, and what only sysfs shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, Line, at, golden, judge
from virtio_trace.check import linux_steps
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE
from virtio_trace.check.profiles import SPEC

NET, BLK = "0000:00:02.0", "0000:00:03.0"


@pytest.fixture
def lines() -> list[Line]:
    """A complete recording with sysfs at the end and no host view, as `record` writes it."""
    lines = golden("debian-6.12")
    del lines[-1]["host"]
    return lines


def device(final: dict[str, Any], address: str = NET) -> dict[str, Any]:
    return next(raw for raw in final["devices"] if raw["address"] == address)


def function(final: dict[str, Any], address: str = NET) -> dict[str, Any]:
    return next(raw for raw in final["pci"] if raw["address"] == address)


CONTRADICTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "no driver": (NET, lambda final: device(final).update(driver=None)),
    "another driver": (NET, lambda final: device(final).update(driver="virtio_blk")),
    "another name": (NET, lambda final: device(final).update(name="virtio7")),
    "another type": (NET, lambda final: device(final).update(id=2)),
    "another vendor": (NET, lambda final: device(final).update(vendor=1)),
    "another status": (NET, lambda final: device(final).update(status=0)),
    "failed": (NET, lambda final: device(final).update(status=0x8F)),
    "other features": (NET, lambda final: device(final).update(features="1" * 64)),
    "no device": (NET, lambda final: final["devices"].remove(device(final))),
    "no PCI device": (NET, lambda final: final["pci"].remove(function(final))),
    "a PCI device without a driver": (NET, lambda final: function(final).update(driver=None)),
    "a PCI device of another driver": (
        NET, lambda final: function(final).update(driver="vfio-pci")),
    "a PCI device of another type": (
        NET, lambda final: function(final).update(device=0x1042)),
    "deferred": (NET, lambda final: final.update(deferred={NET: None})),
    "a driver is not registered": (
        "virtio_net",
        lambda final: final["drivers"].remove({"name": "virtio_net", "module": "virtio_net"})),
    "a driver of another module": (
        "virtio_net", lambda final: final["drivers"][2].update(module="another")),
    "a module is not loaded": ("virtio_net", lambda final: final["modules"].remove("virtio_net")),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_an_error_that_names_events(name: str, lines: list[Line]) -> None:
    subject, change = CONTRADICTIONS[name]
    assert judge(lines).verdict == CONFORMS
    change(lines[-1]["final"])
    result = judge(lines)
    assert result.verdict == DEVIATES
    errors = [f for f in result.findings if f.severity == ERROR and f.subject == subject]
    assert {f.step for f in errors} == {"end-state"} and all(f.events for f in errors)


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_with_losses_it_is_unknown(name: str, lines: list[Line]) -> None:
    CONTRADICTIONS[name][1](lines[-1]["final"])
    lines[-1]["lost"] = 1
    assert judge(lines).verdict == INCOMPLETE


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_came_after_sysfs_was_read_is_no_contradiction(name: str, lines: list[Line]) -> None:
    CONTRADICTIONS[name][1](lines[-1]["final"])
    lines[-1]["final_ns"] = lines[1]["ns"]
    assert judge(lines).verdict == CONFORMS


UNSEEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "a device": lambda final: final["devices"].append(
        {"name": "virtio9", "address": "0000:00:09.0", "bus": "pci", "driver": "virtio_net"}
    ),
    "a driver": lambda final: final["drivers"].append({"name": "virtio_x", "module": None}),
    "a PCI device": lambda final: final["pci"].append(
        {**function(final), "address": "0000:00:09.0"}
    ),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_no_event_shows_is_unknown(name: str, lines: list[Line]) -> None:
    UNSEEN[name](lines[-1]["final"])
    result = judge(lines)
    assert result.verdict == INCOMPLETE
    assert any(step.id == "end-state" and step.ok is None for step in result.steps)


def test_a_device_that_no_event_shows_was_initialised_unseen(lines: list[Line]) -> None:
    assert judge(lines, SPEC).verdict == CONFORMS
    UNSEEN["a device"](lines[-1]["final"])
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_the_specification_is_not_passed_with_other_features_at_the_end(lines: list[Line]) -> None:
    device(lines[-1]["final"])["features"] = "1" * 64
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_a_bound_device_whose_binding_no_event_shows(lines: list[Line]) -> None:
    device(lines[-1]["final"])["driver"] = "another"
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_a_removed_device_that_sysfs_still_has() -> None:
    """debian-6.1-rebind has no state at the end: use that of debian-6.12."""
    lines, rng = golden("debian-6.1-rebind"), "0000:00:04.0"
    end = max(i for i, e in enumerate(lines)
              if "seq" in e and at("unregister_virtio_device", rng, kind="return")(e))  # fmt: skip
    final = golden("debian-6.12")[-1]["final"]
    final["drivers"] = [d for d in final["drivers"] if d["name"].startswith("virtio_")]
    lines = [*lines[: end + 1], {**lines[-1], "events": end, "final": final}]
    result = judge(lines)
    errors = {(f.step, f.subject) for f in result.findings if f.severity == ERROR}
    assert ("end-state", rng) in errors
    final["devices"].remove(device(final, rng))
    final["pci"].remove(function(final, rng))
    errors = {(f.step, f.subject) for f in judge(lines).findings if f.severity == ERROR}
    assert ("end-state", rng) not in errors


def test_without_the_end_nothing_is_compared(lines: list[Line]) -> None:
    device(lines[-1]["final"])["driver"] = None
    assert "end-state" in {step.id for step in judge(lines).steps}
    lines[-1]["final"] = None
    assert "end-state" not in {step.id for step in judge(lines).steps}


def test_the_later_steps_are_in_the_procedure() -> None:
    text = (GOLDEN.parent.parent / "docs" / "procedure.md").read_text(encoding="utf-8")
    for step in linux_steps.LATER_STEPS:
        assert f"- `{step.id}`: " in text


def test_a_pci_driver_that_has_the_device_is_registered(lines: list[Line]) -> None:
    """Agentless recordings once said that it was not, because the guest's ls wrote columns."""
    lines[-1]["final"]["registered"] = False
    assert judge(lines).verdict == CONFORMS
