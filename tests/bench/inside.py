# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in the guest of cost.py: cycles of unbind and bind, by what is armed.

Prints ``BENCH`` and one JSON object: by driver, nanoseconds of CPU time, one number per cycle.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.kernel.drivers.evidence import Symbols
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.tracer.bpf.offsets import read_offsets
from virtio_trace.tracer.points import shape, table
from virtio_trace.tracer.points.point import ProbePoint

POINTS = {point.name: point for point in (*table.CORE_POINTS, *table.NEGOTIATION_POINTS)}
for _name in (table.DRIVER_PROBE, table.DRIVER_VALIDATE):
    POINTS[_name] = table.of_driver(_name, _name, "any driver", None)

TRACING = Path("/sys/kernel/tracing")
RUNS = 3
CYCLES = 20
SETTLE_SECONDS = 1
OUT = Path("/run/ours.vtr")


def cycles(driver: str) -> list[float]:
    """CPU nanoseconds of each cycle in this thread."""
    folder = Path("/sys/bus/virtio/drivers") / driver
    name = next(folder.glob("virtio*")).name.encode()
    unbind, bind = (os.open(folder / file, os.O_WRONLY) for file in ("unbind", "bind"))
    # Memory that arming left is freed in interrupts, which count for the thread that runs then.
    time.sleep(SETTLE_SECONDS)
    took: list[float] = []
    for _ in range(CYCLES):
        began = time.thread_time_ns()
        os.pwrite(unbind, name, 0)
        os.pwrite(bind, name, 0)
        took.append(time.thread_time_ns() - began)
    os.close(unbind)
    os.close(bind)
    return took


def recorded(driver: str) -> int:
    """How many events of DRIVER's device are in the recording, which must have lost none."""
    address = next((Path("/sys/bus/virtio/drivers") / driver).glob("virtio*")).resolve().parent.name
    *events, trailer = [json.loads(line) for line in OUT.read_bytes().splitlines()]
    assert trailer["lost"] == 0
    return sum(event.get("device", {}).get("address") == address for event in events)


def append(file: str, text: str) -> None:
    descriptor = os.open(TRACING / file, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, text.encode())
    os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Definition:
    """A kprobe event as our recorder defined it: ``p`` or ``r64``."""

    kind: str
    name: str
    target: str

    @property
    def point(self) -> ProbePoint:
        """Its probe point: the event is called ``POINT_NUMBER`` or ``POINT_NUMBER_ret``."""
        return POINTS[re.sub(r"_\d+(_ret)?$", "", self.name)]


class Ours:
    """Our recorder, armed while the body runs."""

    def __enter__(self) -> Ours:
        OUT.unlink(missing_ok=True)
        command = [sys.executable, "-m", "virtio_trace", "record", "-q", "-o", str(OUT)]
        self.child = subprocess.Popen(command)
        while not OUT.exists() or not OUT.stat().st_size:
            assert self.child.poll() is None
            time.sleep(0.05)
        defined = (TRACING / "kprobe_events").read_text("utf-8")
        found = re.findall(r"^([pr]\d*):virtio_trace_\w+/(\S+) (\S+)$", defined, re.M)
        self.functions = [Definition(*each) for each in found]
        return self

    def __exit__(self, *_: object) -> None:
        self.child.terminate()
        assert self.child.wait() == 0


class Events:
    """ftrace's own events on the same functions, armed while the body runs."""

    def __init__(self, functions: list[Definition], fetch: Callable[[Definition], str]) -> None:
        self.functions = functions
        self.fetch = fetch

    def __enter__(self) -> None:
        for each in self.functions:
            line = f"{each.kind}:plain/{each.name} {each.target} {self.fetch(each)}\n"
            append("kprobe_events", line)
        append("events/plain/enable", "1")

    def __exit__(self, *_: object) -> None:
        append("events/plain/enable", "0")
        for each in self.functions:
            append("kprobe_events", f"-:plain/{each.name}\n")


class Same:
    """The arguments that an ftrace event must fetch to show what ours shows, as far as it can: an
    entry's address, bus, ids and driver, a status, features, a virtqueue; but not its duration."""

    def __init__(self) -> None:
        tree = ModuleTree(HostKernel().module_tree)
        self.at = read_offsets(Btf.running(), Symbols(tree), TRACING)

    def fetch(self, event: Definition) -> str:
        o, point, detail = self.at, event.point, event.point.detail
        if event.kind != "p":
            if detail == shape.QUEUE:
                name = f"+0(+{o.queue_name}($retval)):string"
                return f"i=+{o.queue_index}($retval):u32 n=+{o.queue_free}($retval):u32 q={name}"
            return "ret=$retval"
        if not point.entry:
            return ""
        words = self._subject(point.subject)
        if point.arg2_driver:
            words += f" second=+0(+{o.driver_name}(%si)):string"
        if detail in (shape.STATUS, shape.RESET):
            words += f" status=%si:x8 features=+{o.virtio_device_features}(%di):x64"
        elif detail == shape.COUNT:
            words += " count=%si:u32"
        elif detail == shape.QUEUE:
            words += " queue=%si:u32 vector=%r9:u16 q=+0(%cx):string"
        elif detail == shape.TABLE:
            driver = f"+{o.device_driver}(%di)"
            words += f" n=+{o.driver_table_size}({driver}):u32"
            words += f" bits=+0(+{o.driver_table}({driver})):u32[36]"
            words += f" legacy=+0(+{o.driver_legacy}({driver})):u32[36]"
        return words

    def _subject(self, subject: int) -> str:
        o = self.at
        if subject == shape.BUS_TYPE:
            return f"name=+0(+{o.bus_name}(%di)):string"
        if subject == shape.DRIVER:
            return f"name=+0(+{o.driver_name}(%di)):string"
        if subject == shape.MODULE_STRUCT:
            return f"name=+{o.module_name}(%di):string"
        if subject in (shape.PCI_DEV, shape.PLATFORM_DEVICE):
            dev = o.pci_dev_dev if subject == shape.PCI_DEV else o.platform_device_dev
            name, bus = f"+{dev + o.device_name}(%di)", f"+{dev + o.device_bus}(%di)"
            return f"address=+0({name}):string bus=+0(+{o.bus_name}({bus})):string"
        base = -o.virtio_device_dev if subject == shape.DEVICE else 0
        device = base + o.virtio_device_dev
        parent = f"{device + o.device_parent:+}(%di)"
        driver = f"+{o.driver_name}({device + o.device_driver:+}(%di))"
        return (
            f"id={base + o.virtio_device_id:+}(%di):u32"
            f" vendor={base + o.virtio_device_vendor:+}(%di):u32"
            f" index={base + o.virtio_device_index:+}(%di):u32"
            f" driver=+0({driver}):string"
            f" address=+0(+{o.device_name}({parent})):string"
            f" bus=+0(+{o.bus_name}(+{o.device_bus}({parent}))):string"
        )


def main() -> None:
    drivers = ("virtio_net", "virtio_blk")
    found: dict[str, dict[str, list[float]]] = {
        driver: {"nothing": [], "plain": [], "same": [], "ours": [], "events": []}
        for driver in drivers
    }
    same = Same()
    for driver in drivers * 2:
        cycles(driver)  # fills the caches
    for _ in range(RUNS):
        for driver in drivers:
            found[driver]["nothing"] += cycles(driver)
        with Ours() as ours:
            for driver in drivers:
                found[driver]["ours"] += cycles(driver)
        for driver in drivers:
            found[driver]["events"].append(recorded(driver) / CYCLES)
        for name, fetch in (("plain", lambda _: ""), ("same", same.fetch)):
            with Events(ours.functions, fetch):
                for driver in drivers:
                    found[driver][name] += cycles(driver)
    print("BENCH", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
