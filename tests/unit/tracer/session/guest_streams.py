# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's executor sends, made by its own encoder; and a task for who reads it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.kernel import KERNEL
from virtio_trace.tracer.bpf.bytecode import FUNCTIONS, Bytecode
from virtio_trace.tracer.bpf.offsets import offsets_of
from virtio_trace.tracer.executor.frames import FrameEncoder
from virtio_trace.tracer.plan.make import NONE, BootTimeEvents, KernelIdentity, make
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.session.guest_recording import GuestTask

CODE = Bytecode(
    dict.fromkeys(FUNCTIONS, b"\xb7\x00\x00\x00\x00\x00\x00\x00\x95\x00\x00\x00\x00\x00\x00\x00"),
    *("x86_64", True, "source", "no compiler", "test"),
)
"""Programs that return 0."""


def task(kernel: OfflineKernel = KERNEL, boot: BootTimeEvents = NONE) -> GuestTask:
    """What a guest of ours with KERNEL records."""
    identity = KernelIdentity(kernel.release, kernel.build_id, kernel.machine)
    offsets = offsets_of(kernel.offsets, kernel.module_load_name)
    plan = make(identity, kernel.probes, offsets, CODE, group="vtx", boot=boot)
    return GuestTask(kernel, plan, ("/virtio-trace/drive",), False, CODE.origin)


class Sender:
    """A guest. Each of its calls returns the frames that it sends."""

    def __init__(self) -> None:
        self.encoder = FrameEncoder()
        self._ns = 1_000_000_000

    def section(self, name: str, text: str | bytes = "") -> bytes:
        """The section NAME, a millisecond later than the last."""
        self._ns += 1_000_000
        data = text.encode() if isinstance(text, str) else text
        return self.encoder.section(f"{name}\n{self._ns}\n".encode() + data)

    def begin(self) -> bytes:
        """Everything is armed."""
        return self.section("armed", f"{self._ns} {self._ns + 9}\n0 {self._ns + 1} 0") + (
            self.section("ready")
        )

    def look(self, idle: float, *, in_initrd: bool = False, system: str = "") -> bytes:
        """One look of the executor at its guest."""
        return self.section("look", f"{idle} 1 {int(not in_initrd)} 4096 {system}")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
