# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's log as a guest prints it, and a record as /dev/kmsg returns it."""

from __future__ import annotations

from tests.fuzz.accepted import accepted, through_json
from virtio_trace.kernel.running import kmsg
from virtio_trace.recording.machine_state import Log

WORDS = (b"6,", b",-;", b"\n DEVICE=+virtio:virtio0", b"\n SUBSYSTEM=", b"virtio", b"0000:00:02.0")


def one(data: bytes) -> None:
    log = kmsg.KernelLog(None)
    log.look_for({"virtio_net", "9pnet_virtio"})
    found = list(kmsg.records(data.decode("utf-8", "backslashreplace").split("\n")))
    kmsg.is_whole(found)
    for record in (*found, data):
        line = kmsg.parse(record)
        if line is not None:
            log.take(line)
    # It goes into a recording, which must be readable.
    with accepted():
        Log.from_json(through_json(log.about(["0000:00:02.0"]).to_json()))
