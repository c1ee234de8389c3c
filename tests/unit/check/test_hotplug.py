# SPDX-License-Identifier: GPL-2.0-or-later
"""Hot-unplug and PCI unbind and bind of devices bound before the recording: no error."""

from __future__ import annotations

import pytest

from tests.unit.surgery import Line, at, golden, judge, mend, remove
from virtio_trace.check.findings import ERROR, INCOMPLETE, WARNING

RNG, NET = "0000:00:04.0", "0000:00:02.0"
PROFILES = ("linux", "spec")


def live(until: str | None = None) -> list[Line]:
    """debian-6.1-rebind as if the recording had begun when everything was bound: it starts with
    the unbinding of three devices. It ends with the return for RNG of the probe point UNTIL."""
    lines = golden("debian-6.1-rebind")
    start = next(i for i, e in enumerate(lines) if "seq" in e and at("virtio_dev_remove")(e))
    if until is not None:
        returns = at(until, RNG, kind="return")
        last = max(i for i, e in enumerate(lines) if "seq" in e and returns(e))
        lines = [*lines[: last + 1], lines[-1]]
    drivers = {"0000:00:02.0": "virtio_net", "0000:00:03.0": "virtio_blk", RNG: "virtio_rng"}
    lines[0]["snapshot"] = {
        "bus": True,
        "devices": [
            {"name": f"virtio{number}", "address": address, "bus": "pci", "index": number,
             "id": (1, 2, 4)[number], "vendor": 6900, "driver": driver, "status": 15}
            for number, (address, driver) in enumerate(drivers.items())
        ],
        "drivers": [{"name": name, "module": name} for name in drivers.values()],
    }  # fmt: skip
    return mend([lines[0], *lines[start:]])


def without_errors(lines: list[Line], profile: str) -> None:
    result = judge(lines, profile)
    assert not [f for f in result.findings if f.severity == ERROR], result.findings
    assert result.verdict == INCOMPLETE  # it existed before: never passed


@pytest.mark.parametrize("profile", PROFILES)
def test_taken_from_its_driver_and_given_back(profile: str) -> None:
    without_errors(live(), profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_removed_and_not_rescanned(profile: str) -> None:
    without_errors(live("unregister_virtio_device"), profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_removed_alone(profile: str) -> None:
    """The recording has only the removal of one device."""
    lines = live("unregister_virtio_device")
    about = [e for e in lines[1:-1] if e.get("device", {}).get("address") == RNG]
    without_errors(mend([lines[0], *about, lines[-1]]), profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_unbound_before_and_removed(profile: str) -> None:
    lines = live("unregister_virtio_device")
    lines = remove(lines, lambda e: at("virtio_dev_remove", RNG)(e) or at("reset", RNG)(e)
                   or at("set_status", RNG)(e))  # fmt: skip
    lines[0]["snapshot"]["devices"][2] |= {"driver": None, "status": 1}
    without_errors(lines, profile)


def test_unbound_and_left_so_names_its_unbinding() -> None:
    lines = live()
    last = max(i for i, e in enumerate(lines) if "seq" in e
               and at("virtio_dev_remove", NET, kind="return")(e))  # fmt: skip
    result = judge(mend([*lines[: last + 1], lines[-1]]))
    (found,) = [f for f in result.findings if f.subject == NET and f.severity == ERROR]
    assert "unbound at the end" in found.message and found.events == (1, 4)


def test_removed_without_being_taken_from_its_driver() -> None:
    """device_del calls virtio_dev_remove for a device that has a driver."""
    lines = live("unregister_virtio_device")
    lines[0]["snapshot_ns"] = lines[1]["ns"] - 1
    result = judge(remove(lines, at("virtio_dev_remove", RNG)))
    errors = [f for f in result.findings if f.severity == ERROR]
    assert {f.subject for f in errors} == {RNG} and all(f.events for f in errors)


def test_what_was_bound_before_and_initialised_unseen_is_unknown() -> None:
    result = judge(live("unregister_virtio_device"), "spec")
    unknown = {f.subject for f in result.findings if f.severity == WARNING}
    assert {RNG, NET} <= unknown
