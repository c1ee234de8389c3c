# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing is lost on the way from a guest: bindings in a row, on one processor and on two, and a
device that is plugged again and again. tests/bench/wire.py does it for longer."""

from __future__ import annotations

import subprocess
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.vm import cycles
from tests.vm.guest import BLK, COMMAND, KERNELS, NET, Boot, Guest

CYCLES, PLUGS = (100, 300), (5, 20)
EVENTS = 29
"""Of one cycle of virtio_net: with 6.1 and one pair of queues."""
MOST_BYTES = 3000
"""On the wire, of a cycle."""

_BIND = cycles.rebinding(CYCLES)

GUESTS = {
    "one": Guest("6.1", _BIND, (*NET, *BLK), append="quiet", seconds=60),
    "two": Guest("6.1", _BIND, (*NET, *BLK, "-smp", "2"), append="quiet", seconds=60),
    "plug": Guest(
        "6.12", cycles.plugging(PLUGS), (*NET, *BLK, *cycles.HOT), append="quiet", seconds=60,
        host=cycles.plug(PLUGS),
    ),
}  # fmt: skip


def _killed(folder: Path) -> subprocess.CompletedProcess[str]:
    """A boot whose recorder is killed while it records."""
    folder.mkdir(parents=True)
    script = f"{cycles.PROCESSES}\nkill -9 $recorder; sleep 1000"
    command = (
        *(*COMMAND, "boot", "--debian", KERNELS["6.1"], "-q", "--run", script),
        *("-o", str(folder / "x.vtr")),
    )
    return subprocess.run(command, capture_output=True, text=True, check=False)


BOOTS = {"killed": _killed}


def bound(booted: Boot, address: str) -> int:
    """How often virtnet_probe returned 0 for the device at ADDRESS: counted from the raw lines."""
    return sum(
        line.get("function") == "virtnet_probe"
        and line["kind"] == "return"
        and line["result"] == 0
        and line["device"]["address"] == address
        for line in booted.events()
    )


def test_nothing_is_lost(booted: Boot) -> None:
    lines = booted.lines()
    trailer = lines[-1]
    assert trailer["lost"] == 0
    assert trailer["events"] == len(lines) - 2
    assert [line["seq"] for line in lines[1:-1]] == list(range(1, len(lines) - 1))
    status, found = booted.check()
    assert (found["verdict"], status, booted.status) == ("CONFORMS", 0, 0)


def test_a_cycle_is_short_on_the_wire(booted: Boot) -> None:
    before, *later = cycles.looks(booted)
    last = later[-1]
    assert last.cycles in (CYCLES[-1], PLUGS[-1])
    assert 0 < last.sent - before.sent < MOST_BYTES * last.cycles
    # What the port sent is far less than the lines.
    assert last.sent < booted.recording.stat().st_size


@pytest.mark.parametrize("name", ["one", "two"])
def test_every_cycle_is_there(boots: dict[tuple[str, str], Future[Boot]], name: str) -> None:
    booted = boots[__name__, name].result()
    assert bound(booted, "0000:00:02.0") == 1 + CYCLES[-1]
    assert len(booted.events()) > EVENTS * CYCLES[-1]


def test_every_plugging_is_there(boots: dict[tuple[str, str], Future[Boot]]) -> None:
    booted = boots[__name__, "plug"].result()
    assert booted.answers == {"early": 5, "late": 15}
    assert bound(booted, "0000:00:10.0") == PLUGS[-1]


def test_a_death_is_heard(
    boots: dict[tuple[str, str], Future[subprocess.CompletedProcess[str]]],
) -> None:
    """At once: the guest's script ends the boot, not --timeout or the end of --run."""
    done = boots[__name__, "killed"].result()
    assert done.returncode == 4
    assert "| virtio-trace: the recorder died" in done.stderr
    assert "the guest died" in done.stderr
    assert "Traceback" not in done.stderr
    assert "0 of 0 steps" not in done.stdout
