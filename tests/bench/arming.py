# SPDX-License-Identifier: GPL-2.0-or-later
"""Start to armed, in a guest: virtio-trace record against bpftrace with the same probes.

    python -m tests.bench.arming [--json]

Each gets a command that prints the guest's clock, and runs it when everything is armed. That clock
counts instructions (-icount), so that a busy host does not matter. The recorder is measured twice:
with what it compiled before in its cache, and with an empty cache. Exit status 1: a figure is over
its limit.

Modules are loaded first, as bpftrace cannot arm a function of a module that is not loaded. It arms
neither of two functions with one name, so it has a few probes less. bpftrace and its libraries are
on a disk of their own; everything else is the appliance.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.vm import appliance

KERNEL = "linux-image-cloud-amd64/bookworm"
RUNS = 3

MOST_COMPILED, MOST_SECONDS, MOST_FRESH = 0.05, 2.0, 0.1
"""The limits: of bpftrace's time and in seconds with byte code in the cache, and of bpftrace's time
with nothing in it."""

_ICOUNT = ("-icount", "shift=1,sleep=off")

_GUEST = """
modprobe ext4
for module in {modules}; do modprobe $module; done
mkdir -p /mnt && mount -o ro /dev/vda /mnt
now() {{ read up rest </proc/uptime; echo $up; }}
record() {{
    XDG_CACHE_HOME=$1 python3 -m virtio_trace record -q -o $2 -- cat /proc/uptime
}}
ours() {{ record /run/cache /run/ours.vtr; }}
fresh() {{ rm -rf /run/fresh; record /run/fresh /run/fresh.vtr; }}
theirs() {{
    LD_LIBRARY_PATH=/mnt/lib /mnt/bpftrace -q -c '/usr/bin/busybox cat /proc/uptime' /mnt/probes.bt
}}
for run in 0 {numbers}; do
    for who in ours fresh theirs; do
        begin=$(now)
        $who >/run/out 2>/run/err || {{ echo "BENCH $who failed"; cat /run/out /run/err; }}
        echo "BENCH $who $run $begin $(grep -E '^[0-9.]+ [0-9.]+$' /run/out | cut -d' ' -f1)"
    done
    echo "BENCH where $(head -n 1 /run/ours.vtr | grep -o '"arming_seconds":{{[^}}]*}}')"
done
"""


@dataclass(frozen=True, slots=True)
class Arming:
    """Seconds from start to armed by the guest's clock, one number per run: of the recorder with
    what it compiled before, of the recorder with an empty cache, and of bpftrace. ``where`` are the
    recorder's own phases with what it compiled before."""

    ours: list[float]
    fresh: list[float]
    theirs: list[float]
    where: list[dict[str, float]]
    probes: int

    @property
    def seconds(self) -> float:
        """With what was compiled before."""
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float:
        """With what was compiled before, against bpftrace."""
        return self.seconds / statistics.median(self.theirs)

    @property
    def fresh_ratio(self) -> float:
        """With an empty cache, against bpftrace."""
        return statistics.median(self.fresh) / statistics.median(self.theirs)

    @property
    def over(self) -> list[str]:
        """The figures that are over their limits."""
        found = (
            ("arming", self.ratio, MOST_COMPILED),
            ("arming seconds", self.seconds, MOST_SECONDS),
            ("arming with an empty cache", self.fresh_ratio, MOST_FRESH),
        )
        return [what for what, value, most in found if value > most]

    def as_json(self) -> dict[str, object]:
        """Ratios of medians, seconds, and the runs."""
        return {
            "ratio": round(self.ratio, 4),
            "seconds": round(self.seconds, 3),
            "fresh_ratio": round(self.fresh_ratio, 4),
            "limits": {
                "ratio": MOST_COMPILED,
                "seconds": MOST_SECONDS,
                "fresh_ratio": MOST_FRESH,
            },
            "probes": self.probes,
            "runs": {"ours": self.ours, "fresh": self.fresh, "bpftrace": self.theirs},
            "over": self.over,
        }


def measure(folder: Path) -> Arming:
    """Two boots: one to list the probes, one to measure."""
    first, root = folder / "first.vtr", folder / "root.cpio"
    appliance.write(root)
    _boot(first, "true")
    probes = [
        probe
        for probe in json.loads(first.read_bytes().splitlines()[0])["probes"]
        if probe["state"] in ("armed", "waiting")
    ]
    modules = sorted({probe["module"] for probe in probes if probe["module"]})
    counted = Counter((probe["probe"], str(probe["function"])) for probe in probes)
    # bpftrace cannot tell two functions of one name apart, and arms neither.
    disk = _disk(folder, sorted({name for (_, name), count in counted.items() if count == 1}))
    numbers = " ".join(str(number) for number in range(1, RUNS + 1))
    console = folder / "console"
    task = _GUEST.format(modules=" ".join(modules), numbers=numbers)
    drive = f"file={disk},format=raw,if=none,id=bench,read-only=on"
    _boot(
        folder / "second.vtr", task, "--root", str(root), "--keep-console", str(console),
        "--timeout", "3600", "--accel", "tcg",
        "--", "-drive", drive, "-device", "virtio-blk-pci,drive=bench", *_ICOUNT,
    )  # fmt: skip
    text = console.read_text(encoding="utf-8", errors="replace")
    if re.search(r"BENCH \w+ failed", text):
        sys.exit(f"a run failed in the guest:\n{text[-4000:]}")
    times: dict[str, list[float]] = {"ours": [], "fresh": [], "theirs": []}
    for who, number, begin, end in re.findall(r"BENCH (\w+) (\d+) ([\d.]+) ([\d.]+)", text):
        if number != "0":  # the first run of each fills the caches
            times[who].append(float(end) - float(begin))
    assert all(len(found) == RUNS for found in times.values()), text[-4000:]
    where = [json.loads(found) for found in re.findall(r'"arming_seconds":(\{[^}]*\})', text)]
    return Arming(times["ours"], times["fresh"], times["theirs"], where[-RUNS:], len(probes))


def _boot(recording: Path, task: str, *options: str) -> None:
    command = [sys.executable, "-m", "virtio_trace", "boot", "-q", "--debian", KERNEL]
    done = subprocess.run(
        [*command, "-o", recording, "--run", task, *options], capture_output=True, check=False
    )
    if not recording.exists():
        sys.exit(f"the guest did not record:\n{done.stderr.decode()}")


def _disk(folder: Path, functions: list[str]) -> Path:
    """A file system with bpftrace, its libraries, and its program for FUNCTIONS."""
    bpftrace = shutil.which("bpftrace")
    assert bpftrace is not None, "apt install bpftrace"
    tree = folder / "disk"
    (tree / "lib").mkdir(parents=True)
    shutil.copy(bpftrace, tree / "bpftrace")
    linked = subprocess.run(["ldd", bpftrace], check=True, capture_output=True, text=True).stdout
    for library in re.findall(r"=> (/\S+)", linked):
        shutil.copy(library, tree / "lib")
    points = ",\n".join(f"{kind}:{name}" for name in functions for kind in ("kprobe", "kretprobe"))
    action = '{ printf("%llu %d %d %s %s\\n", nsecs, cpu, tid, comm, probe); }'
    (tree / "probes.bt").write_text(
        f"{points},\ntracepoint:module:module_load\n{action}\n", encoding="utf-8"
    )
    disk = folder / "disk.img"
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, "400M"],
        check=True,
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
    )
    return disk


def show(found: Arming) -> None:
    """Prints medians and ratios."""
    theirs = statistics.median(found.theirs)
    print(f"start to armed in a guest, {found.probes} functions and module_load, seconds of guest")
    print(
        f"  byte code there  {found.seconds:6.2f} (at most {MOST_SECONDS:g}),"
        f" {found.ratio:.3f} of bpftrace (at most {MOST_COMPILED})"
    )
    print(
        f"  empty cache      {statistics.median(found.fresh):6.2f},"
        f" {found.fresh_ratio:.3f} of bpftrace (at most {MOST_FRESH})"
    )
    print(f"  bpftrace         {theirs:6.2f} ({min(found.theirs):.2f} to {max(found.theirs):.2f})")
    for phase in found.where[0] if found.where else ():
        print(f"  {statistics.median(run[phase] for run in found.where):6.2f} s  {phase}")


def main() -> None:
    """The command of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.arming")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(Path(temporary))
    if options.json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        show(found)
    if found.over:
        sys.exit(f"over the limit: {', '.join(found.over)}")


if __name__ == "__main__":
    main()
