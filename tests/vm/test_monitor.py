# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor as ``boot`` uses it, with machines that never start: real QEMU, no guest.

test_board.py has its view of a guest that ran, compared with another client of the monitor.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.recording.host_view import HostView
from virtio_trace.vm.disk import partitions
from virtio_trace.vm.qemu import host_view
from virtio_trace.vm.qemu.qmp import Monitor

Start = Callable[..., Monitor]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a stopped QEMU, with its monitor on a socket that it inherits."""
    running: list[tuple[subprocess.Popen[bytes], Monitor]] = []

    def begin(*options: str) -> Monitor:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            mon = ("-chardev", f"socket,id=mon,fd={number}", "-mon", "chardev=mon,mode=control")
            child = subprocess.Popen(
                [X86_64.program, "-S", "-nodefaults", "-display", "none", *mon, *options],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        running.append((child, Monitor(ours)))
        return running[-1][1]

    yield begin
    for child, monitor in running:
        child.kill()
        child.wait()
        monitor.close()


def addresses(view: HostView) -> list[tuple[str | None, str | None]]:
    assert view.reason is None and view.devices is not None
    return [(device.bus, device.address) for device in view.devices]


def test_addresses_on_pci(start: Start) -> None:
    """With an id, without one, multifunction; and behind a bridge without bus numbers."""
    monitor = start(
        *("-device", "virtio-rng-pci,id=x,addr=1f.0,multifunction=on"),
        *("-device", "virtio-rng-pci,addr=1f.7", "-device", "virtio-rng-pci,addr=5"),
        *("-device", "pci-bridge,id=b,chassis_nr=1", "-device", "virtio-rng-pci,bus=b,addr=3"),
    )
    view = host_view.look(monitor)
    assert addresses(view) == [
        ("pci", "0000:00:05.0"), ("pci", "0000:00:1f.0"), ("pci", "0000:00:1f.7"), ("pci", None),
    ]  # fmt: skip
    for device in view.devices or ():
        assert (device.id, device.status_value, device.sizes) == (4, 0, {})
        assert [(queue.index, queue.ready) for queue in device.queues] == [(0, False)]
        assert device.host_features is not None
        assert "VIRTIO_F_VERSION_1" in device.host_features.names


def test_addresses_on_q35(start: Start) -> None:
    view = host_view.look(start("-M", "q35", "-device", "virtio-rng-pci,addr=9"))
    assert addresses(view) == [("pci", "0000:00:09.0")]


def test_addresses_behind_expanders(start: Start) -> None:
    """SeaBIOS assigns the bus numbers; QEMU is started for that alone. A pxb without an id has no
    name that leads to its number, and is the only root bus left."""
    two = ("-device", "pxb-pcie,bus_nr=192,bus=pcie.0")
    for options, expected in (
        (("-M", "pc", "-device", "pxb,id=far,bus_nr=64"), ["0000:41:03.0"]),
        (
            ("-M", "pc", "-device", "pxb,id=far,bus_nr=64", "-device", "pxb,bus=pci.0,bus_nr=80"),
            ["0000:41:03.0"],
        ),
        (("-M", "q35", "-device", "pxb-pcie,id=far,bus_nr=128"), ["0000:81:00.0"]),
        (("-M", "q35", "-device", "pxb-pcie,bus_nr=128"), ["0000:81:00.0"]),
        (("-M", "q35", "-device", "pxb-pcie,bus_nr=128", *two), [None]),
    ):
        if "pc" in options:
            monitor = start(*options, "-device", "virtio-rng-pci,bus=far,addr=3")
        else:
            bus = "far" if "id=far" in options[3] else "pxb-pcie-bus.0"
            port = f"pcie-root-port,id=rp1,bus={bus},chassis=1,slot=1"
            monitor = start(*options, "-device", port, "-device", "virtio-rng-pci,bus=rp1")
        monitor.patience(60)
        monitor.command("cont")
        for _ in range(100):
            view = host_view.look(monitor)
            if expected == [None] or addresses(view)[0][1] is not None:
                break
            time.sleep(0.2)
        assert addresses(view) == [("pci", address) for address in expected]


def test_addresses_of_mmio(start: Start) -> None:
    """Each transport's address in memory; QEMU fills them from the last one on."""
    devices = ("-device", "virtio-rng-device", "-device", "virtio-serial-device")
    view = host_view.look(start("-M", "microvm", *devices))
    assert addresses(view) == [
        ("platform", "feb02c00.virtio_mmio"), ("platform", "feb02e00.virtio_mmio"),
    ]  # fmt: skip
    assert [device.id for device in view.devices or ()] == [3, 4]


def test_qemu_opens_a_backing_chain_as_it_is_told_to(start: Start, tmp_path: Path) -> None:
    """The base begins with a qcow2 header that names another file: it is raw, and not probed."""
    chain = (("secret", ()), ("base", ("-b", "secret")), ("a, disk", ("-b", "base")))
    for name, backing in chain:
        below = ("-F", "raw", *backing) if backing else ()
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", *below, str(tmp_path / name), "1M"]
        subprocess.run(argv, check=True)
    disk = partitions.open_image(tmp_path / "a, disk")
    monitor = start(*disk.devices(()))
    monitor.patience(20)
    nodes = monitor.command("query-named-block-nodes")
    opened = {(node["drv"], node["file"]) for node in nodes if str(tmp_path) in node["file"]}
    assert {drv for drv, _ in opened} == {"file", "raw", "qcow2"}
    assert {file for drv, file in opened if drv == "file"} == {
        str(tmp_path / "a, disk"), str(tmp_path / "base"),
    }  # fmt: skip


def test_a_machine_without_virtio(start: Start) -> None:
    assert host_view.look(start("-M", "none")).devices == ()


def test_a_qemu_that_is_gone(start: Start) -> None:
    view = host_view.look(start("-M", "no-such-machine"))
    assert view.devices is None and view.reason is not None


TRAILER = b'{"kind":"trailer","events":0,"lost":0}\n'


def test_what_is_no_trailer_is_left_alone(start: Start) -> None:
    monitor = start("-M", "none")
    said: list[str] = []
    for line in (b'{"seq":1,"kind":"hit"}\n', b'{"kind":"trailer"', b"", b'{"kind":"trailer",]}\n'):
        assert host_view.with_host(line, monitor, said.append) == line
    added = host_view.with_host(TRAILER, monitor, said.append)
    assert json.loads(added) == {
        **json.loads(TRAILER),
        "host": {"model": json.loads(added)["host"]["model"], "devices": [], "reason": None},
    }
    assert host_view.with_host(added, monitor, said.append) == added
    assert said == []


def test_where_qemu_cannot_be_asked_the_reason_is_kept_and_said() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    said: list[str] = []
    added = json.loads(host_view.with_host(TRAILER, Monitor(ours), said.append))
    ours.close()
    assert added["host"]["devices"] is None
    assert added["host"]["reason"] in said[0]


class Old:
    """Answers like a QEMU before 7.2: a real one, asked for a command that it does not have."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def patience(self, seconds: float) -> None:
        self._monitor.patience(seconds)

    def command(self, name: str, **arguments: object) -> object:
        return self._monitor.command(name.replace("x-query-virtio", "x-not-there"), **arguments)


def test_a_qemu_without_the_command(start: Start) -> None:
    view = host_view.look(Old(start("-M", "none")))  # type: ignore[arg-type]
    assert view.devices is None
    assert view.model is not None and view.model.startswith("QEMU ")
    assert "x-not-there" in str(view.reason) and "has not been found" in str(view.reason)
