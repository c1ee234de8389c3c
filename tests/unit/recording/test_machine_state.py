# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's state in a recording: the kernel's log, sysfs at the end, blacklists of modules."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.surgery import dump, golden
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.kmsg import KernelLog, parse
from virtio_trace.recording import reader
from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.recording.machine_state import BlacklistRule, EndState, Log, LogLine

DEVICE = b"3,9,14964115,-;virtio_net virtio1: no\n SUBSYSTEM=virtio\n DEVICE=+virtio:virtio1\n"


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (DEVICE, LogLine(14964115000, 3, "virtio_net virtio1: no", "+virtio:virtio1")),
        (b"4,1,7,-,caller=T1;a;b\n", LogLine(7000, 4, "a;b")),
        (b"6,1,7,c;\\x1b[31m\xff\n", LogLine(7000, 6, "\\x1b[31m\\xff")),
        (b"12,1,7,-;virtio0 died\n", None),  # from a program, not the kernel
        (b"nothing", None),
        (b"", None),
    ],
)
def test_a_record_of_the_log(record: bytes, line: LogLine | None) -> None:
    assert parse(record) == line


@pytest.fixture
def kmsg(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket in place of /dev/kmsg: each packet is one record of the log."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    monkeypatch.setattr(os, "open", lambda *_: ours.detach())
    with theirs:
        yield theirs


def test_the_log_keeps_messages_about_virtio(kmsg: socket.socket) -> None:
    log = KernelLog()
    log.look_for({"strange_driver"})
    for text in ("4,1,5,-;e1000: hello", "4,2,5,-;strange_driver: hello", "7,3,5,-;virtio: debug"):
        kmsg.send(text.encode())
    kmsg.send(b"4,4,5,-;pci 0000:00:02.0: ours")
    log.poll()
    kmsg.send(b"4,5,5,-;pci 0000:00:03.0: not ours")
    kmsg.send(DEVICE)
    found = log.end({"0000:00:02.0"})
    log.close()
    assert found is not None
    assert [line.text.split(":")[0] for line in found.lines] == [
        "strange_driver",
        "pci 0000",
        "virtio_net virtio1",
    ]
    assert found.lost is False
    assert found.behind_ns is not None and found.behind_ns > 0


def test_the_log_keeps_warnings_about_what_devices_carry(kmsg: socket.socket) -> None:
    """vdb is known at the end only, vdc is gone by then."""
    log = KernelLog()
    for text in (
        "3,1,5,-;I/O error, dev vdb, sector 0",
        "3,2,5,-;I/O error, dev sda, sector 0",
        "6,3,5,-; vdb: vdb1",
        "4,4,5,-;EXT4-fs (vdc1): error count: 2",
    ):
        kmsg.send(text.encode())
    log.know({"vdc"})
    found = log.end((), {"vdb"})
    log.close()
    assert found is not None
    assert [line.text.partition(" ")[0] for line in found.lines] == ["I/O", "EXT4-fs"]
    assert "vdb" in found.lines[0].text


def test_a_thousand_other_warnings_do_not_hide_what_is_about_virtio(kmsg: socket.socket) -> None:
    log = KernelLog()
    for number in range(1001):
        kmsg.send(f"4,{number},5,-;e1000: hello".encode())
        log.poll()
    kmsg.send(DEVICE)
    found = log.end(())
    log.close()
    assert found is not None
    assert len(found.lines) == 1
    assert found.lost  # one of them may have been about a disk


def test_an_overwritten_or_overlong_log_is_marked_as_lossy(
    kmsg: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, read, broken = KernelLog(), os.read, [True]

    def overwritten(fd: int, size: int) -> bytes:
        if broken:
            broken.pop()
            raise BrokenPipeError
        return read(fd, size)

    monkeypatch.setattr(os, "read", overwritten)
    kmsg.send(DEVICE)
    found = log.end(())
    assert found is not None and found.lost and len(found.lines) == 1


def test_an_unreadable_log_is_unknown(tmp_path: Path) -> None:
    log = KernelLog(tmp_path / "none")
    log.poll()
    assert log.end(()) is None
    log.close()


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


RNG = DriverFacts(
    "virtio_rng", "virtio_rng", "rng.ko", "s", ((4, 0xFFFFFFFF),), {}, init="rng_init"
)
EVIDENCE = Evidence("6.1", drivers=(RNG,), builtin=("virtio",))


def test_rules_that_keep_a_module_from_being_loaded(tmp_path: Path) -> None:
    line = 'quiet password=secret module_blacklist=a,virtio-rng initcall-blacklist="rng_init" x'
    write(tmp_path, proc__cmdline=f"{line} modprobe.blacklist=virtio_rng\n")
    write(
        tmp_path,
        etc__modprobe_dot_d__a_dot_conf="# blacklist virtio\nblacklist k\nblacklist virtio-rng",
        etc__modprobe_dot_d__b_dot_conf="install \\\n virtio_rng /bin/false\n",
        etc__modprobe_dot_d__c="blacklist virtio_rng\n",
        lib__modprobe_dot_d__a_dot_conf="blacklist virtio\n",  # overridden by the one in /etc
    )
    line, etc = "the kernel command line", "/etc/modprobe.d"
    assert forbidden(EVIDENCE, tmp_path) == (
        BlacklistRule("a", "module_blacklist", line),
        BlacklistRule("virtio_rng", "module_blacklist", line),
        BlacklistRule("rng_init", "initcall_blacklist", line),
        BlacklistRule("virtio_rng", "modprobe.blacklist", line),
        BlacklistRule("virtio_rng", "blacklist", f"{etc}/a.conf"),
        BlacklistRule("virtio_rng", "install", f"{etc}/b.conf"),
    )
    assert forbidden(EVIDENCE, tmp_path / "none") == ()


def test_sysfs_at_the_end(tmp_path: Path) -> None:
    pci = tmp_path / "bus/pci"
    for address, vendor, number in (
        ("0000:00:01.0", "0x8086", "0x1000"),
        ("0000:00:02.0", "0x1af4", "0x1041"),
        ("0000:00:03.0", "0x1af4", "0x1110"),  # ivshmem
        ("0000:00:04.0", "0x1af4", "0x1005"),
    ):
        (pci / "devices" / address).mkdir(parents=True)
        (pci / "devices" / address / "vendor").write_text(f"{vendor}\n")
        (pci / "devices" / address / "device").write_text(f"{number}\n")
    (pci / "devices/0000:00:02.0/supplier:pci:0000:00:01.0").mkdir()
    (pci / "devices/0000:00:02.0/driver_override").write_text("(null)\n")
    (pci / "devices/0000:00:04.0/subsystem_device").write_text("0x0004\n")
    (pci / "devices/0000:00:04.0/driver_override").write_text("vfio-pci\n")
    (pci / "devices/0000:00:04.0/driver").symlink_to("../../drivers/vfio-pci")
    write(tmp_path, module__virtio_rng__initstate="live\n", module__virtio__x="")
    write(tmp_path, bus__virtio__drivers_autoprobe="0\n", bus__pci__drivers_autoprobe="1\n")
    write(tmp_path, debug__devices_deferred="0000:00:02.0\t\nvirtio1\twait for \tx\n")
    found = read_end_state({"virtio_rng", "virtio"}, tmp_path, tmp_path / "debug")
    assert found.autoprobe == {"virtio": False, "pci": True}
    assert found.registered is False
    assert found.deferred == {"0000:00:02.0": None, "virtio1": "wait for \tx"}
    assert found.modules == ("virtio_rng",)
    first, second = found.pci
    assert (first.address, first.virtio_id, first.driver) == ("0000:00:02.0", 1, None)
    assert (first.suppliers, first.override) == (("pci:0000:00:01.0",), None)
    assert (second.virtio_id, second.driver, second.override) == (4, "vfio-pci", "vfio-pci")
    nothing = read_end_state((), tmp_path / "none")
    assert nothing == EndState(autoprobe={"virtio": None, "pci": None})


def test_the_end_state_survives_a_round_trip() -> None:
    for name in ("debian-6.1-reasons", "debian-6.12-deferred"):
        read = reader.read(dump(golden(name)), name)
        assert read.trailer is not None and read.header.blacklist
        end, log = read.trailer.end_state, read.trailer.log
        assert end is not None and log is not None
        assert EndState.from_json(recording_json(end.to_json())) == end
        assert Log.from_json(recording_json(log.to_json())) == log


def recording_json(thing: Any) -> Any:
    """VALUE as it is read from a file, where a tuple is a list."""
    if isinstance(thing, dict):
        return {key: recording_json(value) for key, value in thing.items()}
    return list(map(recording_json, thing)) if isinstance(thing, (list, tuple)) else thing


def test_older_recordings_lack_all_of_it() -> None:
    read = reader.read(dump(golden("debian-6.1")), "old")
    assert read.trailer is not None
    assert (read.header.blacklist, read.trailer.end_state, read.trailer.log) == (None, None, None)


def _set(place: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(lines: list[dict[str, Any]]) -> None:
        thing: Any = lines[0] if place.startswith("forbidden") else lines[-1]
        where = place.removeprefix("end/")
        *way, last = [int(key) if key.isdigit() else key for key in where.split("/")]
        for key in way:
            thing = thing[key]
        thing[last] = value

    return change


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("forbidden", 1), ("forbidden", [1]), ("forbidden/0/what", None), ("forbidden/0", {}),
        ("final", []), ("final/autoprobe", 1), ("final/autoprobe", {"pci": 1}),
        ("final/pci", None), ("final/pci/0", 1), ("final/pci/0/address", 1),
        ("final/pci/0/device", -1), ("final/pci/0/device", 1 << 63), ("final/pci/0/driver", 1),
        ("final/pci/0/suppliers", "x"), ("final/pci/0/subsystem_device", True),
        ("final/registered", 0), ("final/deferred", []), ("final/deferred", {"x": 1}),
        ("final/modules", {}), ("final/modules", [1]), ("final/devices", [{}]),
        ("final/devices", {}), ("final/drivers", [{"name": 1}]), ("log", True), ("log", {}),
        ("log/lines", [1]), ("log/lines/0/text", 1), ("log/lines/0/ns", -1),
        ("log/lines/0/level", "4"), ("log/lines/0/device", 1), ("log/lost", None),
        ("log/behind_ns", 1.5), ("log/behind_ns", 10**4000), ("end/forbidden", [1]),
    ],
)  # fmt: skip
def test_damage_is_refused(place: str, value: Any) -> None:
    lines = golden("debian-6.12-deferred")
    _set(place, value)(lines)
    with pytest.raises(BadInputError):
        reader.read(dump(lines), "damaged")
