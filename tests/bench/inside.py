# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in the guest of cost.py: cycles of unbind and bind, by what is armed. Standard library only.

Prints ``BENCH`` and one JSON object: by driver, nanoseconds of CPU time a cycle, a number a run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
RUNS = 3
CYCLES = 20
OUT = Path("/run/ours.vtr")


def cycle(driver: str) -> float:
    """CPU nanoseconds of one cycle in this thread, on average."""
    folder = Path("/sys/bus/virtio/drivers") / driver
    name = next(folder.glob("virtio*")).name.encode()
    unbind, bind = (os.open(folder / file, os.O_WRONLY) for file in ("unbind", "bind"))
    began = time.thread_time_ns()
    for _ in range(CYCLES):
        os.pwrite(unbind, name, 0)
        os.pwrite(bind, name, 0)
    took = time.thread_time_ns() - began
    os.close(unbind)
    os.close(bind)
    return took / CYCLES


def append(file: str, text: str) -> None:
    descriptor = os.open(TRACING / file, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, text.encode())
    os.close(descriptor)


class Ours:
    """Our recorder, armed while the body runs."""

    def __enter__(self) -> Ours:
        OUT.unlink(missing_ok=True)
        command = [sys.executable, "-m", "virtio_trace", "record", "-q", "-o", str(OUT)]
        self.child = subprocess.Popen(command)
        while not OUT.exists() or not OUT.stat().st_size:
            assert self.child.poll() is None
            time.sleep(0.05)
        found = re.findall(r"^([pr]\d*):virtio_trace_\w+/(\S+) (\S+)$", self.defined(), re.M)
        self.functions = [tuple(each) for each in found]
        return self

    def defined(self) -> str:
        return (TRACING / "kprobe_events").read_text("utf-8")

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        assert self.child.wait() == 0


class Plain:
    """The same functions as events of ftrace's own."""

    def __init__(self, functions: list[tuple[str, ...]]) -> None:
        self.functions = functions

    def __enter__(self) -> None:
        for kind, name, target in self.functions:
            append("kprobe_events", f"{kind}:plain/{name} {target}\n")
        append("events/plain/enable", "1")

    def __exit__(self, *_: object) -> None:
        append("events/plain/enable", "0")
        for _, name, _ in self.functions:
            append("kprobe_events", f"-:plain/{name}\n")


def main() -> None:
    drivers = ("virtio_net", "virtio_blk")
    found: dict[str, dict[str, list[float]]] = {
        driver: {"nothing": [], "plain": [], "ours": [], "events": []} for driver in drivers
    }
    for driver in drivers:
        cycle(driver)  # fills the caches
    for _ in range(RUNS):
        for driver in drivers:
            found[driver]["nothing"].append(cycle(driver))
        for driver in drivers:
            with Ours() as ours:
                found[driver]["ours"].append(cycle(driver))
            lines = OUT.read_bytes().splitlines()
            assert json.loads(lines[-1])["lost"] == 0
            found[driver]["events"].append((len(lines) - 2) / CYCLES)
        with Plain(ours.functions):
            for driver in drivers:
                found[driver]["plain"].append(cycle(driver))
    print("BENCH", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
