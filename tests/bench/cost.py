# SPDX-License-Identifier: GPL-2.0-or-later
"""What armed probes cost a cycle of unbind and bind, in guest instructions.

QEMU's -icount gives the guest a clock that counts instructions (shift=1: 2 ns each). The CPU time
of the thread that binds is all work in it, of the kernel and of what is armed; sleep and other
threads are not counted. The guest has the appliance without our boot's recorder. Its process 1 is
a script (rdinit=), which arms nothing, our recorder, or ftrace's events on the same functions, as
our recorder defined them: plain ones, which record that a function was called, and ones that fetch
what ours show.

A figure is the median of all cycles: an interrupt in a cycle can cost as much as the rest of it.
The kernel's messages are kept off the console, as each takes thousands of instructions.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm import appliance

KERNEL = "linux-image-cloud-amd64/bookworm"
NS_PER_INSTRUCTION = 2  # -icount shift=1
ALLOWED = 1.2
"""Of what plain events add."""

_APPEND = "nokaslr rdinit=/usr/bin/dash -- /virtio-trace/run"
_OPTIONS = (
    *("-icount", "shift=1,sleep=off"),
    *("-netdev", "user,id=n2", "-device", "virtio-net-pci,netdev=n2,romfile=,addr=02.0"),
    *("-blockdev", "null-co,node-name=d3,size=67108864,read-zeroes=on"),
    *("-device", "virtio-blk-pci,drive=d3,addr=03.0"),
)

_GUEST = (
    appliance.first("/dev/console")
    + """
cat >/run/cost.py <<'END'
{inside}END
PYTHONPATH=/ python3 /run/cost.py
sync
poweroff -f
"""
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Instructions of one cycle of DRIVER: with nothing armed, with ftrace's plain events, with
    ftrace's events that fetch the same arguments, and with ours; and how many events ours are."""

    driver: str
    nothing: float
    plain: float
    same: float
    ours: float
    events: float

    @property
    def added(self) -> tuple[float, float, float]:
        """What plain events, events that fetch the same, and ours add to a cycle."""
        return self.plain - self.nothing, self.same - self.nothing, self.ours - self.nothing


def measure(folder: Path) -> list[Cost]:
    """One boot, which measures a Cost for each driver."""
    inside = Path(__file__).with_name("inside.py").read_text("utf-8")
    console, root = folder / "console", folder / "root.cpio"
    appliance.write(root)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "virtio_trace", "boot", "-q", "--debian", KERNEL),
            *("--accel", "tcg", "--append", _APPEND, "--keep-console", console),
            *("-o", folder / "none.vtr", "--run", _GUEST.format(inside=inside)),
            *("--root", root, "--timeout", "3600", "--", *_OPTIONS),
        ],
        capture_output=True,
        check=False,
    )
    text = console.read_text("utf-8", errors="replace") if console.exists() else ""
    found = re.search(r"BENCH (\{.*\})", text)
    if found is None:
        sys.exit(f"no figures from the guest:\n{text[-4000:]}\n{done.stderr.decode()}")
    return [_cost(driver, runs) for driver, runs in json.loads(found[1]).items()]


def _cost(driver: str, runs: dict[str, list[float]]) -> Cost:
    def middle(what: str) -> float:
        return statistics.median(runs[what]) / NS_PER_INSTRUCTION

    return Cost(
        driver=driver,
        nothing=middle("nothing"),
        plain=middle("plain"),
        same=middle("same"),
        ours=middle("ours"),
        events=statistics.median(runs["events"]),
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for cost in measure(Path(temporary)):
            print(cost, cost.added)
