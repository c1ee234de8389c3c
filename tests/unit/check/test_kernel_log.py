# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's log says of disks and interfaces belongs to the device that carries them."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

from tests.unit.surgery import dump, golden
from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, Finding, Result
from virtio_trace.recording import reader
from virtio_trace.recording.carried import named, pattern
from virtio_trace.render import table, text
from virtio_trace.report.summary import summary

Line = dict[str, Any]

BROKEN, GOOD, NET = "0000:00:04.0", "0000:00:03.0", "0000:00:02.0"


@pytest.fixture
def disks() -> list[Line]:
    """A net device and two disks; every read of the second one fails."""
    return copy.deepcopy(golden("debian-6.1-disk"))


def judge(lines: list[Line]) -> Result:
    return verdict.judge(reader.read(dump(lines), "test"))


def warnings(lines: list[Line]) -> list[Finding]:
    return [finding for finding in judge(lines).findings if finding.step == "kernel-log"]


def logged(lines: list[Line], text: str, level: int = 4, device: str | None = None) -> list[Line]:
    """LINES with TEXT as the only message of the log."""
    lines[-1]["log"]["lines"] = [{"ns": 1, "level": level, "text": text, "device": device}]
    return lines


def test_a_disk_whose_reads_fail(disks: list[Line]) -> None:
    assert judge(disks).verdict == CONFORMS
    (found,) = warnings(disks)
    assert (found.severity, found.subject) == ("warning", BROKEN)
    assert found.message == (
        "the kernel's log about its disk vdb: \"I/O error, dev vdb, sector 0 op 0x0:(READ) flags "
        '0x0 phys_seg 1 prio class 2" (2 times), "Buffer I/O error on dev vdb, logical block 0, '
        'async page read" (2 times)'
    )


def test_the_report_has_the_lines_and_what_a_device_carries(disks: list[Line]) -> None:
    found = {
        device["address"]: device for device in summary(reader.read(dump(disks), "x"))["devices"]
    }
    assert {address: device["carries"] for address, device in found.items()} == {
        NET: ["eth0"], GOOD: ["vda"], BROKEN: ["vdb"],
    }  # fmt: skip
    assert [line["level"] for line in found[BROKEN]["log"]["lines"]] == [3, 3, 3, 3]
    assert found[BROKEN]["state"] == "bound"
    assert found[GOOD]["log"] is None


@pytest.mark.parametrize(
    ("message", "level", "device", "owner"),
    [
        ("EXT4-fs error (device vdb1): ext4_find_entry:1", 2, None, BROKEN),
        ("EXT4-fs (vda): error count since last fsck: 2", 4, None, GOOD),
        ("NETDEV WATCHDOG: eth0 (virtio_net): transmit queue 0 timed out", 4, None, NET),
        ("virtio_net virtio0 eth0: TX timeout on queue: 0", 3, "+virtio:virtio0", NET),
        ("virtio_net virtio0: input.0:id 5 is not a head!", 3, "+virtio:virtio0", NET),
        ("virtio_blk virtio1: [vda] new size", 5, "+virtio:virtio1", None),
        ("EXT4-fs (vda): mounted filesystem", 6, None, None),
        ("I/O error, dev vdc, sector 0", 3, None, None),
        ("I/O error, dev vdab, sector 0", 3, None, None),
        ("I/O error, dev xvda, sector 0", 3, None, None),
        ("eth01: no such interface, nor br-eth0", 4, None, None),
    ],
)
def test_to_whom_a_message_belongs(
    disks: list[Line], message: str, level: int, device: str | None, owner: str | None
) -> None:
    found = warnings(logged(disks, message, level, device))
    assert [finding.subject for finding in found] == ([owner] if owner else [])
    assert all(message in finding.message for finding in found)


def test_the_interface_is_called_one(disks: list[Line]) -> None:
    (found,) = warnings(logged(disks, "eth0: hw csum failure"))
    assert found.message == 'the kernel\'s log about its interface eth0: "eth0: hw csum failure"'


def test_a_disk_that_is_gone_at_the_end(disks: list[Line]) -> None:
    end = disks[-1]["final"]["devices"]
    (gone,) = (device for device in end if device["address"] == BROKEN)
    end.remove(gone)
    assert not warnings(disks)
    disks[0]["snapshot"]["devices"].append({**gone, "driver": "virtio_blk"})
    (found,) = warnings(disks)
    assert found.subject == BROKEN


def test_what_a_failed_binding_quotes_is_not_repeated() -> None:
    lines = golden("debian-6.1-reasons")
    assert any(line["level"] <= 4 for line in lines[-1]["log"]["lines"])
    assert not warnings(lines)


def test_many_messages_are_counted(disks: list[Line]) -> None:
    logged(disks, "I/O error, dev vdb, sector 0", 3)
    (first,) = disks[-1]["log"]["lines"]
    more = [{**first, "text": f"I/O error, dev vdb, sector {n}"} for n in range(8, 80, 8)]
    disks[-1]["log"]["lines"] += more
    (found,) = warnings(disks)
    assert found.message.endswith('sector 0", "I/O error, dev vdb, sector 8" and 8 more messages')


def test_a_guests_words_are_escaped(disks: list[Line]) -> None:
    logged(disks, "I/O error, dev vdb\x1b[2J\u202e\n\x07", 3)
    out = io.StringIO()
    text.text(judge(disks), out)
    table.table(summary(reader.read(dump(disks), "x")), out)
    shown = out.getvalue()
    assert shown.count("\\x1b[2J\\u202e\\x0a\\x07") == 2
    assert not {"\x1b", "\u202e", "\x07"} & {*shown}


def test_names_are_found_as_whole_words() -> None:
    names = pattern(["vda", "sdb", "eth0", "lan", ""])
    assert named(names, "(vda1) dev sdb: eth0, lan1 lan xeth0 vda-x sdb12") == {
        "vda", "sdb", "eth0", "lan",
    }  # fmt: skip
    assert named(names, "vdaX lan1 eth0.5-x br-eth0 .sdb") == {"eth0"}
    assert named(pattern([]), "vda") == set()
