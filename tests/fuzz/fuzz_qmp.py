# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of QEMU's monitor, and the host's view made from them."""

from __future__ import annotations

import io
import json
import socket
from typing import Any

from tests.fuzz import mutations
from tests.fuzz.accepted import accepted
from virtio_trace.recording.host_view import HostView
from virtio_trace.vm.qemu import host_view
from virtio_trace.vm.qemu.qmp import Monitor

MUTATE = mutations.json_lines
WORDS = (
    b'{"return": ', b'{"error": {"class": "GenericError", "desc": "', b'{"event": "', b"}\n",
    b'"virtio-backend"', b'"num-vqs": ', b'"device-id": ', b'"statuses": [', b'"pci_bridge": {',
)  # fmt: skip
_TRAILER = b'{"kind":"trailer","events":0}\n'


class _Qemu(socket.socket):
    """Sends DATA, whatever it receives. A socketpair would block, as nobody reads our commands."""

    def __init__(self, data: bytes) -> None:
        super().__init__(socket.AF_UNIX)
        self._data = io.BytesIO(data)

    def sendall(self, *_arguments: Any) -> None:
        return

    def recv(self, size: int, _flags: int = 0) -> bytes:
        return self._data.read(size)


def one(data: bytes) -> None:
    with _Qemu(data) as end:
        line = host_view.with_host(_TRAILER, Monitor(end), lambda reason: None)
        host_view.with_host(b'{"kind":"trailer"' + data, Monitor(end), lambda reason: None)
    # It goes into a recording, which must be readable.
    with accepted():
        HostView.from_json(json.loads(line)["host"])
