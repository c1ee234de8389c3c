# SPDX-License-Identifier: GPL-2.0-or-later
"""The lists of events in tracefs: kprobe_events, kprobe_profile, kprobes/list."""

from __future__ import annotations

from tests.fuzz.kernel import DEFINITIONS
from virtio_trace.tracer.ftrace import cmdline, confirm, tracefs

WORDS = (
    b"p:vt/", b"r:vt/", b"r64:vt/", b"_stext+", b"+0x10", b"\n", b" x=%ax", b"  k  ", b"  r  ",
    b"+0x0    [FTRACE]", b"[GONE]", *(str(one.target).encode() for one in DEFINITIONS[:12]),
)  # fmt: skip


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found, _foreign = cmdline.match(cmdline.listed(text), DEFINITIONS)
    assert all(one.number < len(DEFINITIONS) for one in found)
    tracefs.event_counts(text)
    confirm.armed_in(text)
    confirm.ring_losses(text.split("\n"))
