# SPDX-License-Identifier: GPL-2.0-or-later
"""Keep what a guest's executor sends: python -m tests.framed FILE boot ...

The rest of the command line is virtio-trace's. FILE gets the bytes of the guest's port as they
come, packed by xz at the end. tests/unit/tracer/session/test_guest_recording.py reads them again.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path
from unittest import mock

from virtio_trace.__main__ import main
from virtio_trace.vm.qemu.executor_channel import ExecutorChannel


def keep(path: Path, argv: list[str]) -> None:
    """Run virtio-trace ARGV, and keep in PATH what its guest sends. Raises SystemExit."""
    sent = bytearray()
    feed = ExecutorChannel.feed

    def listen(channel: ExecutorChannel, data: bytes) -> None:
        sent.extend(data)
        feed(channel, data)

    sys.argv = ["virtio-trace", *argv]
    try:
        with mock.patch.object(ExecutorChannel, "feed", listen):
            main()
    finally:
        path.write_bytes(lzma.compress(bytes(sent), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2:])
