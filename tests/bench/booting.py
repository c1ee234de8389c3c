# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracing adds to a boot before its root file system is mounted, in guest instructions.

A third party's image is booted unchanged, with the kernel's own boot-time events on its command
line, and with the recorder in front of its initrd. QEMU's -icount gives the guest a clock that
counts instructions (shift=1: 2 ns each), and the kernel's log has the time at which it mounted the
root. While an idle guest waits for its disk, that clock goes on, so runs differ.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm import images
from virtio_trace.cli.support.boot_parameters import with_boot_events
from virtio_trace.vm.disk import extract
from virtio_trace.vm.host.programs import quiet
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.root import foreign_initrd
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem

NS_PER_INSTRUCTION = 2  # -icount shift=1
RUNS = 3
_ICOUNT = ("-icount", "shift=1,sleep=off")
_MOUNTED = re.compile(rb"\[ *(\d+\.\d+)\] EXT4-fs \(\w+\): mounted filesystem")
_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Booting:
    """Instructions until NAME's root is mounted, by run: without tracing, with the kernel's
    boot-time events alone (None if it has nothing built in), and with the recorder too. ``arming``:
    how many of the latter the recorder needed to arm, by its header."""

    name: str
    nothing: list[float]
    events: list[float] | None
    recorder: list[float]
    arming: list[float]


def measure(names: Sequence[str], folder: Path) -> Iterator[Booting]:
    """Measures one image after the other."""
    for name in names:
        disk = images.image(name)
        append = "" if images.RECIPES[name].grub else f"root=UUID={images.UUID}"
        (folder / name).mkdir()
        system = extract.extract_system(disk, append, folder / name, quiet)
        foreign = ThirdPartySystem(system.initrds, system.options, system.tree, disk=system.image)
        plan = Plan.of(system.vmlinuz, system.modules, Settings(append), third_party=foreign)
        with_events = with_boot_events(plan)
        runs = [_traced(disk, append, folder) for _ in range(RUNS)]
        yield Booting(
            name,
            [_untraced(plan, folder) for _ in range(RUNS)],
            None if with_events is plan else [_untraced(with_events, folder) for _ in range(RUNS)],
            [instructions for instructions, _ in runs],
            [arming for _, arming in runs],
        )


def _untraced(plan: Plan, folder: Path) -> float:
    """The same machine with the image's own initrd alone."""
    assert plan.third_party is not None
    (initrd,) = plan.third_party.initrds
    machine = plan.qemu_config("tcg", 0)
    console = folder / "console"
    argv = machine.argv(str(initrd), 0, 0, 0)
    line = argv.index("-append") + 1
    argv[line] = argv[line].replace(foreign_initrd.FIRST, "").strip()
    sockets = {
        "socket,id=console,fd=0": f"file,id=console,path={console}",
        "socket,id=events,fd=0": "null,id=events",
        "socket,id=vt-monitor,fd=0": "null,id=vt-monitor",
    }
    argv = [sockets.get(word, word) for word in argv] + list(_ICOUNT)
    console.unlink(missing_ok=True)
    with _running(argv):
        return _mounted(console)


def _traced(disk: Path, append: str, folder: Path) -> tuple[float, float]:
    console, recording = folder / "console", folder / "x.vtr"
    console.unlink(missing_ok=True)
    argv = [
        *(sys.executable, "-m", "virtio_trace", "boot", "-q", "--image", str(disk)),
        *(
            "--append",
            append,
            "--accel",
            "tcg",
            "--keep-console",
            str(console),
            "-o",
            str(recording),
        ),
        *("--until", "text:mounted filesystem", "--timeout", str(int(_PATIENCE_SECONDS)), "--"),
        *("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=,addr=02.0"),
        *("-device", "virtio-rng-pci,addr=04.0", *_ICOUNT),
    ]
    subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with recording.open(encoding="utf-8") as lines:
        arming = sum(json.loads(lines.readline())["arming_seconds"].values())
    return _mounted(console), arming * 1e9 / NS_PER_INSTRUCTION


@contextmanager
def _running(argv: list[str]) -> Iterator[None]:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def _mounted(console: Path) -> float:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        said = console.read_bytes() if console.exists() else b""
        if found := _MOUNTED.search(said):
            return float(found[1]) * 1e9 / NS_PER_INSTRUCTION
        time.sleep(0.2)
    sys.exit(f"no root was mounted:\n{said[-4000:].decode(errors='replace')}")


def show(found: Booting) -> None:
    """Prints medians, each with its lowest and highest run, in millions of instructions."""
    print(f"until the root of {found.name} is mounted, in millions of guest instructions")
    base = statistics.median(found.nothing)
    rows = [("without tracing", found.nothing), ("boot-time events", found.events)]
    for what, runs in [*rows, ("the recorder", found.recorder), ("  its arming", found.arming)]:
        if runs is None:
            print(f"  {what:17} nothing is built in")
            continue
        millions = [instructions / 1e6 for instructions in runs]
        middle = statistics.median(millions)
        print(
            f"  {what:17} {middle:10,.1f}  ({min(millions):,.1f} to {max(millions):,.1f})"
            f"  {middle * 1e6 / base:6.3f} of a boot without"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for one in measure(sys.argv[1:] or ["bookworm", "trixie"], Path(temporary)):
            show(one)
