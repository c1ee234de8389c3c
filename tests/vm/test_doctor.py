# SPDX-License-Identifier: GPL-2.0-or-later
"""What doctor and record say on real machines that lack something. See inside_doctor.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.guest import BLK, NET, Boot, Guest, running

_SCRIPT = running("inside_doctor", "traces", "inside_recorders")

GUESTS = {
    "6.1": Guest(
        "6.1", _SCRIPT, (*NET, *BLK), append="quiet", seconds=100, python=True, boot_events=False
    )
}

CAN, PARTLY = "This machine can trace.", "This machine can trace, but not all."
CANNOT = "This machine cannot trace. virtio-trace boot traces another kernel, in QEMU."


@pytest.fixture(scope="module")
def outcomes(booted: Boot) -> dict[str, Any]:
    """What inside_doctor.py printed."""
    *said, last = booted.sections["outcomes"]
    assert said == []
    found: dict[str, Any] = json.loads(last)
    return found


def answers(outcome: dict[str, Any]) -> dict[str, list[str]]:
    """By the name of the prerequisite: mark, reason, hint; the last two where there are any."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in outcome["doctor"][1][1:-1]:
        if line.startswith("         "):
            found[name].append(line.strip())
        else:
            mark, _, rest = line.strip().partition(" ")
            name, _, reason = rest.strip().partition(": ")
            found[name] = [mark, reason] if reason else [mark]
    return found


def verdict(outcome: dict[str, Any]) -> tuple[int, str]:
    status, lines, errors = outcome["doctor"]
    assert errors == ""
    return status, lines[-1]


def refused(outcome: dict[str, Any]) -> tuple[int, str, str]:
    """How record ended: its status, what it said, and its hint."""
    status, (said, hint) = outcome["record"]
    return status, said.removeprefix("virtio-trace: "), hint.strip()


def test_a_whole_machine(outcomes: dict[str, Any]) -> None:
    found = outcomes["all"]
    assert verdict(found) == (0, CAN)
    assert {tuple(answer) for answer in answers(found).values()} == {("yes",)}
    assert found["record"][0] == 0


def test_nothing_is_mounted(outcomes: dict[str, Any]) -> None:
    found = outcomes["nothing mounted"]
    assert verdict(found) == (3, CANNOT)
    mount = "mount -t tracefs tracefs /sys/kernel/tracing"
    given = answers(found)
    assert given["tracefs"] == ["NO", "tracefs is not mounted", mount]
    assert given["list of kprobes in debugfs"] == [
        "NO", "debugfs is not mounted", "mount -t debugfs debugfs /sys/kernel/debug",
    ]  # fmt: skip
    assert given["kprobes in the kernel"] == ["?", "unknown without tracefs"]
    assert given["kprobes switched on"][0] == "?"
    assert refused(found) == (3, "cannot trace here: tracefs is not mounted", mount)


def test_the_tracefs_in_debugfs_serves_as_well(outcomes: dict[str, Any]) -> None:
    assert verdict(outcomes["no tracing"]) == (0, CAN)
    assert outcomes["no tracing"]["record"][0] == 0


def test_kptr_restrict(outcomes: dict[str, Any]) -> None:
    """It is traced, as all of VirtIO is modular in this kernel; both say what may be missing."""
    found = outcomes["kptr_restrict"]
    assert verdict(found) == (0, PARTLY)
    mark, reason, hint = answers(found)["kernel addresses"]
    assert (mark, hint) == ("part", "sysctl kernel.kptr_restrict=1")
    assert reason.startswith("kptr_restrict=2 hides them")
    status, said = found["record"]
    assert f"virtio-trace: warning: kernel addresses: {reason}: {hint}" in said
    assert (status, found["recording"]["not_armed"]) == (0, [])


def test_root_of_a_user_namespace(outcomes: dict[str, Any]) -> None:
    found = outcomes["user namespace"]
    assert verdict(found) == (3, CANNOT)
    assert ", in a user namespace" in found["doctor"][1][0]
    mark, reason, hint = answers(found)["root"]
    assert mark == "NO"
    assert reason == "root of a user namespace only: kprobes and BPF need the machine's root"
    assert answers(found)["BPF programs"] == ["?", "unknown without root"]
    assert refused(found) == (3, f"cannot trace here in a user namespace: {reason}", hint)


def test_a_container(outcomes: dict[str, Any]) -> None:
    """With the capabilities that docker and podman give."""
    found = outcomes["container"]
    assert verdict(found) == (3, CANNOT)
    assert ", in a Podman container" in found["doctor"][1][0]
    mark, reason, hint = answers(found)["root"]
    assert (mark, reason) == ("NO", "root without CAP_SYS_ADMIN, as containers have it")
    assert hint.startswith("start the container with --privileged -v /lib/modules:")
    assert refused(found) == (3, f"cannot trace here in a Podman container: {reason}", hint)


def test_lockdown(outcomes: dict[str, Any]) -> None:
    """Integrity lets us trace; confidentiality refuses everything."""
    found = outcomes["integrity"]
    assert verdict(found) == (0, CAN)
    assert answers(found)["kernel lockdown"] == ["yes", "integrity, which allows kprobes and BPF"]
    assert (found["record"][0], found["recording"]["not_armed"]) == (0, [])
    found = outcomes["confidentiality"]
    assert verdict(found) == (3, CANNOT)
    mark, reason, hint = answers(found)["kernel lockdown"]
    assert (mark, hint) == ("NO", "boot without lockdown=confidentiality")
    assert refused(found) == (3, f"cannot trace here: {reason}", hint)


def test_nothing_is_left(outcomes: dict[str, Any]) -> None:
    for name, found in outcomes.items():
        assert "error" not in found, name
        if name != "confidentiality":  # what the kernel has can no longer be read
            assert (found["left"]["groups"], found["left"]["recorders"]) == ([], []), name
