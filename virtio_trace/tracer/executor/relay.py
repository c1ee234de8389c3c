# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends a recording over a serial port: ``python -m virtio_trace.tracer.executor.relay``.

Reads lines from standard input and writes frames to standard output. The recorder waits for its
pipe alone, never for the port. See docs/decisions/0022.
"""

from __future__ import annotations

import os
import select
import sys
import time

from virtio_trace.tracer.executor.frames import LARGEST, LINES, FrameEncoder
from virtio_trace.tracer.executor.port import PortWriter

FLUSH_SECONDS = 0.1
"""How long a line may wait for others to fill its frame. The recorder reads its ring as often."""

_PIECE = 1 << 16


class LineCutter:
    """Puts bytes, cut anywhere, into an encoder's frames as whole lines."""

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder
        self._rest: list[bytes] = []
        self._size = 0
        self._is_too_long = False

    def feed(self, data: bytes) -> bytes:
        """Consume DATA. Return the frames that are full."""
        end = data.rfind(b"\n") + 1
        frames = b""
        if end:
            frames = self._add(data, end)
        self._keep(data[end:])
        return frames

    def close(self) -> bytes:
        """The last frames. A line that was cut short is lost: it counts as one item."""
        frames = self._encoder.flush()
        if self._size or self._is_too_long:
            self._encoder.skip(1)
        return frames + self._encoder.end()

    def _add(self, data: bytes, end: int) -> bytes:
        frames = b""
        start = 0
        if self._is_too_long:
            start = data.index(b"\n") + 1
            frames = self._encoder.flush()
            self._encoder.skip(1)
            self._is_too_long = False
        whole = b"".join(self._rest) + data[start:end]
        self._rest, self._size = [], 0
        if len(whole) > LARGEST:  # a line just below the limit, and others
            for line in whole.split(b"\n")[:-1]:
                frames += self._encoder.add(line + b"\n", 1)
        elif whole:
            frames += self._encoder.add(whole, whole.count(b"\n"))
        return frames

    def _keep(self, rest: bytes) -> None:
        if self._is_too_long or self._size + len(rest) > LARGEST:
            self._is_too_long = True
            self._rest, self._size = [], 0
        elif rest:
            self._rest.append(rest)
            self._size += len(rest)


def relay(source: int, port: PortWriter) -> None:
    """Send all lines of the file descriptor SOURCE. Raises OSError if the port fails."""
    encoder = FrameEncoder(LINES)
    cutter = LineCutter(encoder)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    due = 0.0
    while True:
        if not encoder.is_empty:
            left = due - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                port.write(encoder.flush())
        data = os.read(source, _PIECE)
        if not data:
            break
        was_empty = encoder.is_empty
        frames = cutter.feed(data)
        if frames:
            port.write(frames)
        if was_empty or frames:
            due = time.monotonic() + FLUSH_SECONDS
    port.write(cutter.close())
    port.close()


def main() -> int:
    """Relay standard input to standard output. The status is 1 if one of them fails."""
    try:
        relay(0, PortWriter(1))
    except OSError as error:
        sys.stderr.write(f"virtio-trace: the relay to the port: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
