# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording, through everything that the commands print of it."""

from __future__ import annotations

import io

from tests.fuzz import mutations
from virtio_trace.check import verdict
from virtio_trace.check.coverage import lacks
from virtio_trace.check.profiles import PROFILES
from virtio_trace.graph import builder
from virtio_trace.graph.calls import nest
from virtio_trace.recording import reader
from virtio_trace.render import json
from virtio_trace.render.dot import dot
from virtio_trace.render.lines import Lines
from virtio_trace.render.perfetto import perfetto
from virtio_trace.render.table import table
from virtio_trace.render.text import text
from virtio_trace.report.summary import summarize

LONGEST = 1 << 15
MUTATE = mutations.json_lines
WORDS = (
    b'"kind":"entry"', b'"kind":"return"', b'"kind":"hit"', b'"kind":"module"', b'"kind":"trailer"',
    b'"device":{"address":"', b'"bus":"pci"', b'"detail":{"status":', b'"result":-', b'"probe":"',
    b'"virtio_dev_probe"', b'"driver":"', b'"features":"0x', b'"final":null', b'"host":null',
)  # fmt: skip


def one(data: bytes) -> None:
    recording = reader.read(io.BytesIO(data), "fuzzed")
    lacks(recording)
    lines = Lines(100, numbered=True)
    for event in recording.events:
        lines.add(event)
    lines.flush()
    out = io.StringIO()
    for event, call in nest(recording.events):
        json.line({**event.to_json(), "depth": call.depth if call else 0}, out)
    graph = builder.build(recording)
    for profile in PROFILES:
        result = verdict.check(graph, profile)
        json.check(result, out)
        text(result, out, 80, verbose=True)
    summary = summarize(graph)
    json.report(summary, out)
    table(summary, out, 80)
    perfetto(graph, out)
    dot(summary, out)
    out.getvalue().encode()
