# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's own view of a guest's devices, from QEMU's monitor (QMP) while the guest waits.

The guest's side is :data:`ASK`: ``ask NAME`` prints that on the console and reads a line from the
third serial port. This side writes it when it has done what NAME stands for.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.virtio import features

ASK = """
ask() { exec 7</dev/ttyS2; echo "ask: $1" >/dev/kmsg; read -r _ <&7; exec 7<&-; }
"""
"""Shell: wait until the host has done what the name is for."""

_PATIENCE = 60.0


class Qmp:
    """A connection to QEMU's monitor."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_PATIENCE)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self.events: list[dict[str, Any]] = []
        self._read()  # the greeting
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """What QEMU returns. An error fails the test."""
        self._file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            answer = self._read()
            if "event" in answer:
                self.events.append(answer)
                continue
            assert "error" not in answer, (name, arguments, answer)
            return answer["return"]

    def _read(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "QEMU closed its monitor"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self._file.close()
        self._socket.close()


Answer = Callable[[str, Qmp], Any]
"""What the host does for a name that the guest asks, and what is kept of it."""


class Monitor:
    """The host's part in one boot: sockets in FOLDER, and its answers by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.answers: dict[str, Any] = {}

    @property
    def options(self) -> tuple[str, ...]:
        """QEMU's options: a monitor, and a third serial port. ``-serial`` would be the second,
        which is the recording's channel. Its interrupt is its own: the first port's is an edge."""
        return (
            *("-qmp", f"unix:{self._folder}/qmp,server=on,wait=off"),
            *("-chardev", f"socket,id=go,path={self._folder}/go,server=on,wait=off"),
            *("-device", "isa-serial,index=2,irq=5,chardev=go"),
        )

    @contextlib.contextmanager
    def serving(self, console: Path, answer: Answer | None) -> Iterator[None]:
        """While the body runs, does what the guest asks for on its CONSOLE."""
        if answer is None:
            yield
            return
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            serving = pool.submit(self._serve, console, answer, over)
            try:
                yield
            finally:
                over.set()
            serving.result()

    def _serve(self, console: Path, answer: Answer, over: threading.Event) -> None:
        while not over.wait(0.05):
            said = console.read_text("utf-8", errors="replace") if console.exists() else ""
            # From the line's start: the kernel prints "mask: ffffffff" of a slow clock.
            for name in re.findall(r"^(?:\[[ .\d]+\] )?ask: (\S+)\s*\n", said, re.MULTILINE):
                if name not in self.answers:
                    self._answer(name, answer)

    def _answer(self, name: str, answer: Answer) -> None:
        """Lets the guest go on in any case: it would wait for ever."""
        with socket.socket(socket.AF_UNIX) as go:
            go.connect(str(self._folder / "go"))
            try:
                with contextlib.closing(Qmp(self._folder / "qmp")) as qmp:
                    self.answers[name] = answer(name, qmp)
            finally:
                go.sendall(b"go\n")
                time.sleep(0.3)  # what QEMU has not read when we close is lost


@contextlib.contextmanager
def monitor() -> Iterator[Monitor]:
    """A Monitor in a folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="vt-qmp-") as folder:
        yield Monitor(Path(folder))


# -- a virtio device in QEMU

SUPERSET = frozenset(
    {
        "VIRTIO_NET_F_GSO",
        "VIRTIO_F_NOTIFY_ON_EMPTY",
        "VIRTIO_F_ANY_LAYOUT",
        "bit 30",
        "VIRTIO_F_RING_RESET",
    }
)
"""What QEMU's host-features may have beyond what the transport shows to a guest."""

_OTHERS = {
    "VHOST_USER_F_PROTOCOL_FEATURES": "bit 30",  # no header of the kernel names it
    "VIRTIO_F_IOMMU_PLATFORM": "VIRTIO_F_ACCESS_PLATFORM",  # its name until VirtIO 1.1
}
"""QEMU's names, where ours are others."""


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device in QEMU. ``queues``: the sizes of those in use, by index."""

    status: frozenset[str]
    offered: frozenset[str]
    negotiated: frozenset[str]
    queues: dict[int, int]


def devices(qmp: Qmp) -> dict[str, HostDevice]:
    """Every virtio device, by its QEMU id (``-device ...,id=``)."""
    found = {}
    for entry in qmp.command("x-query-virtio"):
        path = entry["path"]
        shown = qmp.command("x-query-virtio-status", path=path)
        # "VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready"
        status = [line.partition(":")[0] for line in shown["status"]["statuses"]]
        queues = [
            qmp.command("x-query-virtio-queue-status", path=path, queue=number)
            for number in range(shown["num-vqs"])
        ]
        found[path.split("/")[-2]] = HostDevice(
            frozenset(name.removeprefix("VIRTIO_CONFIG_S_") for name in status),
            _names(shown["host-features"], shown["device-id"]),
            _names(shown["guest-features"], shown["device-id"]),
            {queue["queue-index"]: queue["vring-num"] for queue in queues if queue["vring-desc"]},
        )
    return found


def _names(answer: dict[str, Any], device: int) -> frozenset[str]:
    """Features by name. QEMU 7.2 shows some bits only as a number (bit 40)."""
    unknown = int(answer.get("unknown-dev-features", 0))
    bits = [bit for bit in range(64) if unknown >> bit & 1]
    lines = [*answer["transports"], *answer["dev-features"]]
    said = [line.partition(":")[0] for line in lines]
    return frozenset([*(_OTHERS.get(name, name) for name in said), *features.names(device, bits)])
