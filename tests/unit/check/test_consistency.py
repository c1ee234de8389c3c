# SPDX-License-Identifier: GPL-2.0-or-later
"""What must alternate: registrations, bindings, probes and suspends in modified recordings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.check.spec_cuts import copied, nth
from tests.unit.surgery import Line, at, change, golden, judge, mend, move, remove
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE
from virtio_trace.check.profiles import SPEC

NET, BLK, RNG = "0000:00:02.0", "0000:00:03.0", "0000:00:04.0"


def boot() -> list[Line]:
    return golden("debian-6.1")


def suspended() -> list[Line]:
    return golden("debian-6.1-suspend")


def rebound() -> list[Line]:
    return golden("debian-6.1-rebind")


def again(lines: list[Line], probe: str, subject: str, **members: object) -> list[Line]:
    """LINES with the first call of PROBE for SUBJECT (a device or driver) repeated after it."""
    about = at(probe, subject) if ":" in subject else at(probe, driver=subject)
    places = [i for i, line in enumerate(lines) if "seq" in line and about(line)][:2]
    inner = [{**lines[i], **(members if i == places[1] else {})} for i in places]
    return mend([*lines[: places[1] + 1], *inner, *lines[places[1] + 1 :]])


def probe_called_outside() -> list[Line]:
    """virtnet_probe is called again after virtio_dev_probe has returned."""
    lines = boot()
    probe = nth(at("driver_probe", NET), 0, lines), nth(at("driver_probe", NET), 1, lines)
    return copied(lines, lambda line: probe[0](line) or probe[1](line), at("virtio_dev_probe", NET))


CUTS: dict[str, tuple[str, str, Callable[[], list[Line]]]] = {
    "a restoration that failed": (
        "device-restored", NET,
        lambda: change(suspended(), at("virtio_device_restore", NET, kind="return"), result=-22)),
    "a suspend that failed": (
        "device-restored", NET,
        lambda: change(suspended(), at("virtio_device_freeze", NET, kind="return"), result=-5)),
    "frozen and never restored": (
        "device-restored", NET, lambda: remove(suspended(), at("virtio_device_restore", NET))),
    "restored and never frozen": (
        "device-restored", NET, lambda: remove(suspended(), at("virtio_device_freeze", NET))),
    "bound twice": ("bus-probed", NET, lambda: again(boot(), "virtio_dev_probe", NET)),
    "bound again without an unbinding": (
        "bus-probed", NET, lambda: remove(rebound(), at("virtio_dev_remove", NET))),
    "unbound twice": ("bus-probed", NET, lambda: again(rebound(), "virtio_dev_remove", NET)),
    "removed while it is bound": (
        "bus-probed", RNG, lambda: remove(rebound(), at("virtio_dev_remove", RNG))),
    "a driver registered twice": (
        "driver-registered", "virtio_net",
        lambda: again(boot(), "register_virtio_driver", "virtio_net")),
    "a driver registered again without an unregistration": (
        "driver-registered", "virtio_blk",
        lambda: remove(rebound(), at("unregister_virtio_driver"))),
    "a device registered again without an unregistration": (
        "device-registered", RNG, lambda: remove(rebound(), at("unregister_virtio_device"))),
    "the bus registered twice": (
        "bus-registered", "virtio",
        lambda: copied(boot(), at("bus_register"), at("bus_register"))),
    "the driver's probe outside virtio_dev_probe": (
        "driver-probed", NET, probe_called_outside),
    "the driver's probe twice in one virtio_dev_probe": (
        "driver-probed", NET, lambda: again(boot(), "driver_probe", NET)),
    "twice, and with an error": (
        "driver-probed", NET, lambda: again(boot(), "driver_probe", NET, result=-22)),
    "another driver's probe": (
        "driver-probed", NET, lambda: change(boot(), at("driver_probe", NET), driver="virtio_blk")),
    "validate refused and the binding went on": (
        "bus-probed", NET,
        lambda: change(boot(), at("driver_validate", NET, kind="return"), result=-22)),
    "an init that failed and left its driver": (
        "driver-loaded", "virtio_net",
        lambda: change(boot(), lambda e: e.get("probe") == "do_init_module"
                       and e["kind"] == "return" and e["detail"]["name"] == "virtio_net",
                       result=-17)),
    "the modern probe twice": (
        "transport-probed", NET, lambda: again(boot(), "virtio_pci_modern_probe", NET)),
    "-ENODEV, and no legacy probe": (
        "transport-probed", NET,
        lambda: change(boot(), at("virtio_pci_modern_probe", NET, kind="return"), result=-19)),
    "neither the modern nor the legacy probe": (
        "transport-probed", NET, lambda: remove(boot(), at("virtio_pci_modern_probe", NET))),
    "legacy after modern": (
        "transport-probed", RNG,
        lambda: change(golden("debian-6.1-failures"),
                       at("virtio_pci_modern_probe", RNG, kind="return"), result=0)),
    "the right function of another module": (
        "driver-probed", NET, lambda: change(boot(), at("driver_probe", NET), module="virtio_blk")),
}  # fmt: skip


@pytest.mark.parametrize("name", CUTS)
def test_what_takes_turns_is_condemned(name: str) -> None:
    step, subject, cut = CUTS[name]
    lines = cut()
    for state in lines[-1]["probes"]:  # a function that was called was armed
        if name == "the right function of another module" and state["function"] == "virtnet_probe":
            state["module"] = "virtio_blk"
    result = judge(lines)
    assert result.verdict == DEVIATES, result.findings
    found = [f for f in result.findings if f.severity == ERROR]
    assert (step, subject) in {(f.step, f.subject) for f in found}, found
    assert all(finding.events for finding in found)


@pytest.mark.parametrize("name", CUTS)
def test_with_losses_it_is_not(name: str) -> None:
    """Except for what a call returned, which its own event proves."""
    lines = CUTS[name][2]()
    lines[-1]["lost"] = 1
    before = judge(lines).findings
    shown = [f for f in before if f.severity == ERROR]
    assert all("returned" in f.message or "ran, but" in f.message for f in shown), shown


@pytest.mark.parametrize("result", [-22, -5])
def test_a_restoration_that_failed_deviates_from_the_specification_too(result: int) -> None:
    """DRIVER_OK stays set, without FAILED: the status is wrong (2.1, 2.1.1)."""
    returned = at("virtio_device_restore", NET, kind="return")
    found = judge(change(suspended(), returned, result=result), SPEC)
    assert found.verdict == DEVIATES
    assert {(f.step, f.subject) for f in found.findings if f.severity == ERROR} == {
        ("driver-ok", NET)
    }


def test_turns_in_order_conform() -> None:
    for lines in (boot(), suspended(), rebound()):
        assert judge(lines).verdict == CONFORMS


def test_a_driver_that_came_when_its_device_was_gone() -> None:
    """RNG is unregistered before the module virtio_rng is loaded, and does not come back."""
    lines = boot()
    load = next(i for i, event in enumerate(lines) if event.get("module") == "virtio_rng")
    ends = [e for e in rebound() if "seq" in e and at("unregister_virtio_device", RNG)(e)]
    ends = [{k: v for k, v in event.items() if k != "driver"} for event in ends]
    kept = [e for e in lines[load:] if e.get("device", {}).get("address") != RNG]
    result = judge(mend([*lines[:load], *ends, *kept]))
    assert result.verdict == CONFORMS, result.findings


def test_what_is_not_counted_as_lost_and_lost_all_the_same() -> None:
    for probe in ("virtio_dev_probe", "bus_register", "driver_probe", "do_init_module"):
        for profile in ("linux", "spec"):
            result = judge(remove(boot(), at(probe, kind="entry")), profile)
            assert result.verdict == INCOMPLETE, (probe, profile, result.findings)


@pytest.mark.parametrize("address", [NET, BLK, RNG])
@pytest.mark.parametrize("profile", ["linux", "spec"])
def test_without_all_entries_of_a_device_it_is_incomplete(address: str, profile: str) -> None:
    def entered(line: Line) -> bool:
        return line["kind"] == "entry" and bool(line.get("device", {}).get("address") == address)

    for name in ("debian-6.1", "debian-6.1-rebind", "debian-6.1-suspend", "debian-6.12"):
        result = judge(remove(golden(name), entered), profile)
        assert result.verdict == INCOMPLETE, (name, result.findings)


def test_an_entry_and_a_return_that_disagree_prove_nothing() -> None:
    other = next(e["device"] for e in boot() if e.get("device", {}).get("address") == BLK)
    result = judge(change(boot(), at("virtio_dev_probe", NET, kind="return"), device=other))
    assert result.verdict == INCOMPLETE


def test_moving_a_probe_out_of_its_call_is_still_one_finding() -> None:
    result = judge(move(boot(), at("driver_probe", NET), at("virtio_dev_probe", NET)))
    errors = [f for f in result.findings if (f.severity, f.step) == (ERROR, "driver-probed")]
    assert len(errors) == 1
