# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recorder knows of the running kernel before it arms anything (learning.py reads it)."""

from __future__ import annotations

from dataclasses import dataclass

from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.bpf.wire import WireOffsets
from virtio_trace.tracer.points.resolve import ResolvedProbe


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the kernel's files and memory say. ``offsets`` are those of the BPF program, ``members``
    those of fetch arguments, in bytes; ``cookies``: BPF programs can ask for a cookie (Linux 5.15);
    ``seconds`` is the time that each phase of reading took."""

    evidence: Evidence
    offsets: WireOffsets
    probes: list[ResolvedProbe]
    members: dict[str, int]
    cookies: bool
    seconds: dict[str, float]
