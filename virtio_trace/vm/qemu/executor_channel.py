# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording's channel of a guest with an executor: frames to a recording on the host."""

from __future__ import annotations

from virtio_trace.tracer.executor.frames import END, RECORDS
from virtio_trace.vm.qemu.frame_reader import FrameReader
from virtio_trace.vm.root.recorder import FrameSink
from virtio_trace.vm.root.until import Look, StopReason

_CANNOT = 3
"""The exit status for what cannot be traced."""


class ExecutorChannel:
    """Hands the frames of a guest on to SINK. It has the same face as Channel."""

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink
        self._frames = FrameReader(self._frame, lambda _text: None, sink.lose)
        self.status: int | None = None
        self.said: list[str] = []
        self.stop: StopReason | None = None
        self.dropped = 0

    @property
    def began(self) -> bool:
        """Whether the recording has begun."""
        return self._sink.began

    @property
    def lost(self) -> int:
        """Lines of the recording that are missing: none, as SINK counts what is lost."""
        return 0

    def feed(self, data: bytes) -> None:
        """Consumes bytes as they come, cut anywhere."""
        self._frames.feed(data)

    def close(self) -> None:
        """The guest's end."""
        self._frames.close()

    def looks(self) -> list[Look]:
        """What was seen of the guest since the last call, in order."""
        return self._sink.looks()

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == RECORDS:
            self._sink.records(payload)
        elif kind != END:
            self._sink.section(payload)
        else:
            self._sink.end()
            failure = self._sink.failure
            self.status = 0 if failure is None else _CANNOT
            if failure is not None:
                self.said = f"virtio-trace: {failure}".splitlines()
