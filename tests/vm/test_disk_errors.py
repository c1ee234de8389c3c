# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that fails every read: it is bound, and the kernel's log is a warning about it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.vm.guest import BLK, NET, Boot, Guest

_BROKEN = {
    "driver": "blkdebug",
    "node-name": "broken",
    "inject-error": [{"event": "none", "iotype": "read", "errno": 5}],
    "image": {"driver": "null-co", "size": 67108864, "read-zeroes": True},
}
_DISKS = (
    *(*NET, *BLK, "-blockdev", json.dumps(_BROKEN)),
    *("-device", "virtio-blk-pci,drive=broken,addr=04.0"),
)
_READ = """
head -c 65536 /dev/vda >/dev/null
head -c 65536 /dev/vdb >/dev/null
at interrupts; grep virtio /proc/interrupts
at disks; ls -d /sys/bus/virtio/devices/*/block/*
"""
GUESTS = {
    "6.1": Guest("6.1", _READ, _DISKS, append=""),
    "6.12": Guest("6.12", _READ, _DISKS, append=""),
    "ftrace": Guest("6.1", _READ, _DISKS, append="", collector="ftrace"),
}


def device(booted: Boot, slot: str) -> dict[str, Any]:
    """The device in the report."""
    (found,) = (d for d in booted.report()["devices"] if d["address"] == f"0000:00:{slot}")
    return dict(found)


def disk(booted: Boot, name: str) -> str | None:
    """The disk of the virtio device NAME by the guest's own sysfs."""
    paths = (line.split("/") for line in booted.sections["disks"])
    return next((path[-1] for path in paths if path[5] == name), None)


def test_the_console_has_the_error(booted: Boot) -> None:
    assert "I/O error, dev vdb" in booted.kernel_log
    assert "I/O error, dev vda" not in booted.console


def test_a_device_has_its_disk(booted: Boot) -> None:
    for slot in ("03.0", "04.0"):
        found = device(booted, slot)
        assert found["state"] == "bound"
        assert found["carries"] == [disk(booted, found["name"])]


def test_the_failing_disk_is_a_warning(booted: Boot) -> None:
    status, found = booted.check()
    assert (status, found["verdict"]) == (0, "CONFORMS")
    (warning,) = (f for f in found["findings"] if f["severity"] == "warning")
    assert (warning["step"], warning["subject"]) == ("kernel-log", "0000:00:04.0")
    assert warning["message"].startswith("the kernel's log about its disk vdb: ")
    (line, *_) = device(booted, "04.0")["log"]["lines"]
    assert line["text"] in booted.kernel_log
    assert line["level"] <= 4
    assert device(booted, "03.0")["log"] is None


def test_a_person_sees_it(booted: Boot) -> None:
    shown = booted.read("report").stdout
    assert re.search(r"0000:00:04\.0 .* bound, warned ", shown)
    assert 'its disk vdb: "' in shown.partition("DEVICES")[0]
    assert "I/O error, dev vdb" in booted.stdout.partition("DEVICES")[0]


def test_interrupts_are_those_of_the_guest(booted: Boot) -> None:
    """The guest's script reads them a little earlier."""
    for found in booted.report()["bindings"]:
        for queue in found["queues"]:
            line = next(
                (
                    line.split()
                    for line in booted.sections["interrupts"]
                    if line.endswith(f" {found['name']}-{queue['name']}")
                ),
                None,
            )
            assert (queue["interrupts"] is None) == (line is None)
            if line is not None:
                assert int(line[1]) <= queue["interrupts"] <= int(line[1]) + 100


def test_completions_are_those_of_the_host(booted: Boot) -> None:
    """Every read that the guest was told of is completed: never fewer than interrupts."""
    (of_disk,) = (b for b in booted.report()["bindings"] if b["device"] == "0000:00:03.0")
    (queue,) = of_disk["queues"]
    assert queue["completions"] >= queue["interrupts"] > 0
