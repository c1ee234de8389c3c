# SPDX-License-Identifier: GPL-2.0-or-later
"""What recording adds to a boot before its root file system is mounted, in executed instructions.

    python -m tests.bench.booting [--json] [NAME ...]

A third party's image is booted unchanged; with what the recorder arms, armed by ftrace alone
(ftrace_only.py); and with the recorder, by our own command. What is counted (counting.py) is what
the kernel executed, and all that it ran, until it printed that the root is mounted. Exit status 1:
a figure is over its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from unittest.mock import patch

from tests.bench import ftrace_only
from tests.bench.counting import Counted, Counter
from tests.vm import images
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm.disk import extract
from virtio_trace.vm.host.programs import quiet
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.qemu import process
from virtio_trace.vm.root import recorder
from virtio_trace.vm.root.cpio import append_file
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem

RUNS = 3
NAMES = {"bookworm": "debian-12", "trixie": "debian-13"}

MOST_TOTAL, MOST_OWN, MOST_ARCHIVE = 1.15, 1.04, 12_000_000
"""The limits: with the recorder against without, with the recorder against the same events armed by
ftrace, and bytes of the archive in front of the image's initrd."""

_TEXT = "mounted filesystem"
_PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Booting:
    """Instructions until the root of image NAME is mounted, one number a run: without tracing, with
    ftrace alone, and with the recorder, whose archive has so many bytes."""

    name: str
    nothing: list[int]
    ftrace: list[int]
    recorder: list[int]
    archive: int

    @property
    def total_ratio(self) -> float:
        """With the recorder against without."""
        return statistics.median(self.recorder) / statistics.median(self.nothing)

    @property
    def own_ratio(self) -> float:
        """With the recorder against ftrace alone."""
        return statistics.median(self.recorder) / statistics.median(self.ftrace)

    @property
    def over(self) -> list[str]:
        """The figures that are over their limits."""
        found = (
            ("total_ratio", self.total_ratio, MOST_TOTAL),
            ("own_ratio", self.own_ratio, MOST_OWN),
            ("archive", self.archive, MOST_ARCHIVE),
        )
        return [f"{self.name} {what}" for what, value, most in found if value > most]

    def as_json(self) -> dict[str, object]:
        """Ratios of medians, bytes, and the runs."""
        return {
            "total_ratio": round(self.total_ratio, 4),
            "own_ratio": round(self.own_ratio, 4),
            "archive_bytes": self.archive,
            "instructions": {
                "nothing": self.nothing,
                "ftrace": self.ftrace,
                "recorder": self.recorder,
            },
            "over": self.over,
        }


def measure(names: Sequence[str], folder: Path) -> Iterator[Booting]:
    """Measures one image after the other."""
    for name in names:
        disk = images.image(name)
        append = "" if images.RECIPES[name].grub else f"root=UUID={images.UUID}"
        own = folder / name
        own.mkdir()
        system = extract.extract_system(disk, append, own, quiet)
        foreign = ThirdPartySystem(system.initrds, system.options, system.tree, disk=system.image)
        plan = Plan.of(system.vmlinuz, system.modules, Settings(append), third_party=foreign)
        counter = Counter(X86_64.program, _TEXT, own / "counter")
        (initrd,) = system.initrds
        nothing = [_untraced(plan, initrd, counter) for _ in range(RUNS)]
        ftrace = [_by_ftrace(plan, initrd, counter, own) for _ in range(RUNS)]
        recorder = [_recorded(disk, append, counter, own) for _ in range(RUNS)]
        yield Booting(
            NAMES.get(name, name),
            [run.instructions for run in nothing],
            [run.instructions for run in ftrace],
            [run.instructions for run in recorder],
            recorder[0].initrd - nothing[0].initrd,
        )


def _untraced(plan: Plan, initrd: Path, counter: Counter) -> Counted:
    """The same machine with the image's own initrd alone."""
    with tempfile.TemporaryFile() as file:
        append_file(file, initrd)
        return _run(plan, file, counter, first="")


def _by_ftrace(plan: Plan, initrd: Path, counter: Counter, folder: Path) -> Counted:
    """The same machine with all events armed by ftrace."""
    with_events, lines = ftrace_only.plan_and_definitions(plan)
    with (folder / "ftrace.cpio").open("wb+") as file:
        ftrace_only.write(file, with_events, lines, initrd)
        found = _run(with_events, file, counter, first=recorder.FIRST)
    armed = f"BENCH {len(lines)} events by tracefs"
    assert armed in counter.console(), f"{armed} is not in:\n{counter.console()[-4000:]}"
    return found


def _run(plan: Plan, initrd: BinaryIO, counter: Counter, first: str) -> Counted:
    """Boots PLAN with INITRD until its root is mounted; FIRST is in place of rdinit=."""
    config = plan.qemu_config("tcg", 0)
    append = config.append.replace(recorder.FIRST, first).strip()
    config = replace(config, append=append)
    initrd.flush()
    counter.reset()
    with patch.dict(os.environ, PATH=counter.path):
        qemu = process.Run(config, initrd.fileno())
    with qemu:
        for _ in qemu.read(time.monotonic() + _PATIENCE_SECONDS):
            if counter.done:
                break
    return counter.result()


def _recorded(disk: Path, append: str, counter: Counter, folder: Path) -> Counted:
    """The image with the recorder, as a user records it."""
    counter.reset()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "virtio_trace", "boot", "-q", "--image", str(disk)),
            *("--append", append, "--accel", "tcg", "-o", str(folder / "x.vtr")),
            *("--until", f"text:{_TEXT}", "--timeout", str(int(_PATIENCE_SECONDS))),
        ],
        check=False,
        capture_output=True,
        env={**os.environ, "PATH": counter.path},
    )
    if not counter.done:
        sys.exit(f"not recorded:\n{done.stderr.decode()}{counter.console()[-4000:]}")
    return counter.result()


def show(found: Booting) -> None:
    """Prints medians, each with its lowest and highest run, in millions of instructions."""
    print(f"until the root of {found.name} is mounted, in millions of executed instructions")
    base = statistics.median(found.nothing)
    rows = (
        ("without tracing", found.nothing),
        ("ftrace alone", found.ftrace),
        ("the recorder", found.recorder),
    )
    for what, runs in rows:
        middle = statistics.median(runs)
        print(
            f"  {what:16} {middle / 1e6:9,.1f}  ({min(runs) / 1e6:,.1f} to {max(runs) / 1e6:,.1f})"
            f" {middle / base:7.3f}"
        )
    print(f"  total {found.total_ratio:.3f} (at most {MOST_TOTAL})")
    print(f"  own part {found.own_ratio:.3f} (at most {MOST_OWN})")
    print(f"  archive {found.archive / 1e6:.1f} MB (at most {MOST_ARCHIVE / 1e6:.0f})")


def main() -> None:
    """The command of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.booting")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("names", nargs="*", default=list(NAMES), help=f"of {', '.join(NAMES)}")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for one in measure(options.names, Path(temporary)):
            found.append(one)
            if not options.json:
                show(one)
    if options.json:
        limits = {"total_ratio": MOST_TOTAL, "own_ratio": MOST_OWN, "archive_bytes": MOST_ARCHIVE}
        images_found = {one.name: one.as_json() for one in found}
        print(json.dumps({"images": images_found, "limits": limits}, indent=1))
    over = [what for one in found for what in one.over]
    if over:
        sys.exit(f"over the limit: {', '.join(over)}")


if __name__ == "__main__":
    main()
