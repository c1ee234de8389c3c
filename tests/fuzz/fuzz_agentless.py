# SPDX-License-Identifier: GPL-2.0-or-later
"""The output of a guest without an agent, and the recording assembled from it."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import fuzz_ring, fuzz_sysfs, mutations
from tests.fuzz.accepted import accepted
from tests.fuzz.kernel import KERNEL
from virtio_trace.check import verdict
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.tracer.session import agentless, agentless_arming

MUTATE = mutations.lines
WORDS = (
    *(f"@@ {name}\n".encode() for name in ("refused", "kprobes", "modules", "sysfs", "trace")),
    *(f"@@ {name}\n".encode() for name in ("profile", "stats", "kmsg", "uptime 1 1", "ended 0")),
    b"tracing_mark_write: virtio-trace: begin\n", b"cpu0 overrun: 5\n", b"# Invalid argument\n",
    *fuzz_ring.WORDS, *fuzz_sysfs.WORDS,
)  # fmt: skip


def one(data: bytes) -> None:
    lines: list[bytes] = []
    try:
        _assemble(data, lines)
    finally:
        # Whatever was written before an error must be a readable recording.
        if lines:
            with accepted():
                verdict.check(builder.build(reader.read(lines, "assembled")))


def _assemble(data: bytes, lines: list[bytes]) -> None:
    guest = agentless.Guest(agentless_arming.arming(KERNEL, 1900), lines.append, _scratch)
    for line in io.BytesIO(data):
        guest.consume(line)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
