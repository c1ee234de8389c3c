# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench: how time and memory grow with a recording. Never part of a test: machines differ.

    python3 -m tests.bench.scale

Time is the processor's, against json.loads over the same lines in the same run: the median of RUNS
pairs. Exits with 1 if a bar is broken.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import enlarge, many
from virtio_trace.recording.events import HIT, Event
from virtio_trace.tracer.ftrace.merge import Overlap, Stream

EVENTS = 1_000_000
FEW = 250_000
RUNS = 3
GOLDEN = many.GOLDEN / "debian-6.1-rebind.vtr"
LINEAR = 1.2
FLAT = 1.2
_JSON = "import json,sys\nfor line in open(sys.argv[1], 'rb'): json.loads(line)"


@dataclass(frozen=True, slots=True)
class Bar:
    """The most processor time, as a ratio to json.loads, and the most memory in MB. ``flat``: the
    memory must not grow with the number of events."""

    command: tuple[str, ...]
    ratio: float
    megabytes: int
    flat: bool = False


BARS = (
    Bar(("check",), 1.6, 150),
    Bar(("report",), 2.0, 150),
    Bar(("script",), 3.0, 80, flat=True),
    Bar(("report", "--format", "perfetto"), 5.0, 200, flat=True),
)

SIZES = {
    "generations": 7_500, "bindings": 7_500, "failures": 7_500, "devices": 1_000, "slots": 5_000,
    "lanes": 5_000,
}  # fmt: skip
"""How many of each thing; then four times as many."""

COMMANDS = (
    ("check",),
    ("check", "--profile", "spec"),
    ("report",),
    ("report", "--format", "perfetto"),
)


MERGED = 20_000
"""How many hits boot-time events and the program both saw; then four times as many."""


def measure(folder: Path) -> list[str]:
    """Measure and print. Returns the bars that are broken."""
    return [*_long(folder), *_growth(folder)]


def _long(folder: Path) -> list[str]:
    long, short = folder / "long.vtr", folder / "short.vtr"
    enlarge.write(GOLDEN, long, EVENTS)
    enlarge.write(GOLDEN, short, FEW)
    print(f"reading {EVENTS:,} events: processor time against json.loads, peak memory")
    broken = []
    for bar in BARS:
        name, ratios, rates, peak = " ".join(bar.command), [], [], 0.0
        for _ in range(RUNS):
            base, _ = _run([sys.executable, "-c", _JSON, str(long)])
            seconds, megabytes = _command(bar.command, long)
            ratios.append(seconds / base)
            rates.append(EVENTS / seconds)
            peak = max(peak, megabytes)
        ratio, rate = statistics.median(ratios), statistics.median(rates)
        text = f"  {name:25} ratio {ratio:4.2f} (at most {bar.ratio})  {rate:9,.0f} events/s"
        text += f"  {peak:4.0f} MB (at most {bar.megabytes})"
        flat = True
        if bar.flat:
            _, little = _command(bar.command, short)
            text += f"  {peak / little:4.2f} of that for {FEW:,} (at most {FLAT})"
            flat = peak <= FLAT * little
        print(text)
        if ratio > bar.ratio or peak > bar.megabytes or not flat:
            broken.append(name)
    long.unlink()
    return broken


def _growth(folder: Path) -> list[str]:
    """The time of four times as many against four times the time, without that of starting."""
    print(f"four times as many of one thing: the time for each grows by (at most {LINEAR})")
    broken, file = [], folder / "many.vtr"
    for kind, number in SIZES.items():
        taken: dict[tuple[str, ...], list[float]] = {command: [] for command in COMMANDS}
        for size in (0, number, 4 * number):
            many.write(kind, size, file)
            for command, seconds in taken.items():
                seconds.append(min(_command(command, file)[0] for _ in range(RUNS)))
        text = f"  {4 * number:6,} {kind:12}"
        for command, (start, few, lots) in taken.items():
            growth = (lots - start) / (4 * max(few - start, 0.001))
            text += f"  {' '.join(command[::2])} {growth:4.2f}"
            if growth > LINEAR:
                broken.append(f"{' '.join(command)} of {kind}")
        print(text, flush=True)
    return [*broken, *_merging()]


def _merging() -> list[str]:
    few, lots = (min(_merge(size) for _ in range(RUNS)) for size in (MERGED, 4 * MERGED))
    print(f"  {4 * MERGED:6,} {'merged hits':12}  merge {lots / (4 * few):4.2f}")
    return ["merge"] if lots > LINEAR * 4 * few else []


def _merge(hits: int) -> float:
    """Processor seconds to merge HITS of one function that both saw, without those of Python's
    search for garbage, which looks at all that is kept."""
    boot, live = (
        [Event(n, n * 1000 + late, 0, 1, "sh", HIT, "get_features", "vp_get_features")
         for n in range(1, hits + 1)]
        for late in (0, 400)
    )  # fmt: skip
    gc.collect()
    gc.disable()
    begun = time.process_time()
    Stream(boot, Overlap(0, 0, hits * 1000)).add(live)
    taken = time.process_time() - begun
    gc.enable()
    return taken


def _command(command: tuple[str, ...], file: Path) -> tuple[float, float]:
    name, *options = command
    return _run([sys.executable, "-m", "virtio_trace", name, *options, str(file)])


def _run(command: list[str]) -> tuple[float, float]:
    """Processor seconds and peak megabytes of one whole process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1, 4), (command, process.returncode)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure; exit with 1 if a bar is broken."""
    with tempfile.TemporaryDirectory() as folder:
        broken = measure(Path(folder))
    if broken:
        sys.exit(f"over the bar: {', '.join(broken)}")


if __name__ == "__main__":
    main()
