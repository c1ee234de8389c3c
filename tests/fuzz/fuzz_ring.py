# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace ring's text, and the recording made from it."""

from __future__ import annotations

import io

from tests.fuzz import mutations
from tests.fuzz.accepted import accepted, through_json
from tests.fuzz.kernel import DEFINITIONS, KERNEL
from virtio_trace.recording.events import EventReader
from virtio_trace.recording.writer import Writer
from virtio_trace.tracer.ftrace.text_decoder import TextDecoder

MUTATE = mutations.lines
WORDS = (
    b"            init-1       [000] d....     0.500000: ", b": (f+0x0/0x9) ", b": (f <- g) x=0x",
    b' a="0000:00:02.0"', b' b="pci"', b" d=0x1af400000001", b" v=0x20", b" s=0x7", b" f=0x5",
    b" (fault)", b" t={0x1,0x2}", b"CPU:0 [LOST 5 EVENTS]\n", b"module_load: virtio", b"# tracer",
)  # fmt: skip


def one(data: bytes) -> None:
    ring = TextDecoder(DEFINITIONS, KERNEL.offsets)
    text = io.StringIO(data.decode("utf-8", "backslashreplace"), newline="\n")
    events = ring.events(text)
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    Writer(io.BytesIO()).write(events)
    # It goes into a recording, which must be readable.
    reader = EventReader()
    with accepted():
        for event in events:
            reader.event(through_json(event.to_json()))
