# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench: speeds as ratios, medians of five. Never part of a test: machines differ."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import arming, booting, cost, enlarge, inspecting, scale

EVENTS = 200_000
RUNS = 5
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "debian-6.1-rebind.vtr"


def main() -> None:
    """Measures and prints; each heading has the limit."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        slow = scale.measure(folder)
        _reading(folder)
        _inspecting(folder)
        armed = arming.measure(folder)
        arming.show(armed)
        over = slow + armed.over + [f"the cost of a cycle of {driver}" for driver in _cost(folder)]
        for found in booting.measure(tuple(booting.NAMES), folder):
            booting.show(found)
            over += found.over
    if over:
        sys.exit(f"over the limit: {', '.join(over)}")


def _reading(folder: Path) -> None:
    long = folder / "long.vtr"
    enlarge.write(GOLDEN, long, EVENTS)
    print(f"reading {EVENTS:,} events (at least 50,000 a second, under 300 MB)")
    for command in ("report", "check"):
        for style in ("json", "table" if command == "report" else "text"):
            runs = [_run(command, style, long) for _ in range(RUNS)]
            seconds = statistics.median(run[0] for run in runs)
            megabytes = max(run[1] for run in runs)
            rate = EVENTS / seconds
            print(
                f"  {command:6} {style:5} {seconds:6.2f} s  {rate:9,.0f} events/s"
                f"  ({rate / 50_000:4.2f} of 50,000)  {megabytes:4.0f} MB"
            )


def _run(command: str, style: str, file: Path) -> tuple[float, float]:
    """Wall seconds and peak megabytes of one whole process."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "virtio_trace", command, "--format", style, file],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1, 4), process.returncode
    return time.monotonic() - began, usage.ru_maxrss / 1024


def _inspecting(folder: Path) -> None:
    found = inspecting.measure(folder / "inspecting")
    print(f"inspect of {found.files} .ko.xz, the fastest of {inspecting.RUNS}")
    print(f"  with depmod's files {min(found.indexed):6.2f} s (under 1)")
    print(
        f"  without them        {min(found.plain):6.2f} s  xz -dc by xargs on all cores"
        f" {min(found.unpacking):6.2f} s  ratio {found.ratio:.2f} (at most 1.3)"
    )


def _cost(folder: Path) -> list[str]:
    """The limit is relative to ftrace's plain events, which show that a function was called. Events
    that fetch what ours show tell what fetching costs. Returns the drivers over the limit."""
    print(
        "added to a cycle of unbind and bind, in guest instructions"
        f" (at most {cost.ALLOWED} of plain events)"
    )
    over = []
    for found in cost.measure(folder):
        plain, same, ours = found.added
        print(f"  {found.driver}: {found.nothing:,.0f} without, {found.events:.0f} events")
        print(f"    virtio-trace                       {ours:9,.0f}")
        print(f"    ftrace, plain events               {plain:9,.0f}  ratio {ours / plain:.2f}")
        print(f"    ftrace, fetching the same          {same:9,.0f}  ratio {ours / same:.2f}")
        if ours > cost.ALLOWED * plain:
            over.append(found.driver)
    return over


if __name__ == "__main__":
    main()
