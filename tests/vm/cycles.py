# SPDX-License-Identifier: GPL-2.0-or-later
"""Many bindings in one recording: what a guest runs for them, what it says of its recorder, and
what a host does to plug a device again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.vm.guest import Boot
from tests.vm.qmp import Qmp

PATIENCE_SECONDS = 60.0

# Its name begins with @ (tracer/executor/first.py), and busybox's grep stops at a zero byte, which
# separates the words of a cmdline. In a guest whose own `record` is looked at, it is set before.
PROCESSES = r"""
[ -n "$recorder" ] || for one in /proc/[0-9]*; do
    case $(tr '\0' ' ' <$one/cmdline) in @*/early*) recorder=${one#/proc/} ;; esac
done 2>/dev/null
"""
"""Shell: sets ``recorder`` to the number of its process, to "" if there is none."""

_LOOK = (
    PROCESSES
    + r"""
resident() {
    [ -n "$1" ] || { echo 0; return; }
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' /proc/$1/status
}
sent() { sed -n 's/^1: .* tx:\([0-9]*\).*/\1/p' /proc/tty/driver/serial; }
look() {
    time=$(cut -d ' ' -f 1 /proc/uptime)
    # What waits for the port is sent first.
    until before=$(sent); sleep 1; [ "$(sent)" = "$before" ]; do :; done
    at "after $1"
    resident "$recorder"
    sent
    echo "$time"
}
look 0
"""
)


def rebinding(counts: Sequence[int], driver: str = "virtio_net") -> str:
    """Shell: unbinds and binds DRIVER's device, and looks after each of COUNTS, which rise."""
    return f"""{_LOOK}
cd /sys/bus/virtio/drivers/{driver}
device=$(echo virtio*)
n=0
for until in {" ".join(map(str, counts))}; do
    while [ $n -lt $until ]; do
        echo $device >unbind
        echo $device >bind
        n=$((n + 1))
    done
    look $n
done
cd /
"""


def plugging(counts: tuple[int, int]) -> str:
    """Shell: the host plugs and unplugs a device (:func:`plug`); looks after each of COUNTS."""
    early, late = counts
    return f"{_LOOK}\nask early\nlook {early}\nask late\nlook {late}\n"


HOT = ("-netdev", "user,id=hot0")
"""QEMU's option for the device that :func:`plug` plugs."""


def plug(counts: tuple[int, int]) -> Callable[[str, Qmp], int]:
    """The host's part. Each time it waits for the driver, and then for the guest's release."""
    return partial(_plug, counts)  # which goes to another process


def _plug(counts: tuple[int, int], name: str, qmp: Qmp) -> int:
    early, late = counts
    times = early if name == "early" else late - early
    for _ in range(times):
        qmp.command(
            "device_add", driver="virtio-net-pci", id="hot", netdev="hot0", romfile="",
            addr="10.0",
        )  # fmt: skip
        _until(lambda: _driven(qmp))
        qmp.command("device_del", id="hot")
        _until(lambda: not _plugged(qmp))
    return times


def _plugged(qmp: Qmp) -> bool:
    devices = qmp.command("qom-list", path="/machine/peripheral")
    return "hot" in [device["name"] for device in devices]


def _driven(qmp: Qmp) -> bool:
    path = "/machine/peripheral/hot/virtio-backend"
    statuses = qmp.command("x-query-virtio-status", path=path)["status"]["statuses"]
    return any("DRIVER_OK" in status for status in statuses)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Look:
    """The guest after some cycles: the recorder's memory in KiB (resident set), bytes sent by the
    port (of the kernel's serial driver), seconds since boot."""

    cycles: int
    recorder: int
    sent: int
    seconds: float


def looks(booted: Boot) -> list[Look]:
    """What the guest said, in its order."""
    return looks_of(booted.sections)


def looks_of(sections: dict[str, list[str]]) -> list[Look]:
    """The same, of a console's sections."""
    found = []
    for name, lines in sections.items():
        word, _, cycles = name.partition(" ")
        if word == "after":
            recorder, sent, seconds = lines
            found.append(Look(int(cycles), int(recorder), int(sent), float(seconds)))
    return found
