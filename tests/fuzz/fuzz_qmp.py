# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of QEMU's monitor, and the host's view made from them."""

from __future__ import annotations

import json
import socket

from tests.fuzz import mutations
from tests.fuzz.accepted import accepted
from virtio_trace.recording.host_view import host_from_json
from virtio_trace.vm.qemu import host_view
from virtio_trace.vm.qemu.qmp import Monitor

MUTATE = mutations.json_lines
WORDS = (
    b'{"return": ', b'{"error": {"class": "GenericError", "desc": "', b'{"event": "', b"}\n",
    b'"virtio-backend"', b'"num-vqs": ', b'"device-id": ', b'"statuses": [', b'"pci_bridge": {',
)  # fmt: skip
_TRAILER = b'{"kind":"trailer","events":0}\n'


def one(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        theirs.send(data)
        theirs.shutdown(socket.SHUT_WR)
        line = host_view.with_host(_TRAILER, Monitor(ours), lambda reason: None)
    # It goes into a recording, which must be readable.
    with accepted():
        host_from_json(json.loads(line)["host"])
    host_view.with_host(b'{"kind":"trailer"' + data, Monitor(ours), lambda reason: None)
