# SPDX-License-Identifier: GPL-2.0-or-later
"""Where events were lost: what was true before a loss need not be true after it."""

from __future__ import annotations

from virtio_trace.recording.events import Event
from virtio_trace.recording.source import Source


class Losses:
    """The places in RECORDING where events are missing, while its events are read one by one.

    Only the last gap is kept: it is the one that decides whether a gap follows an event. Events
    that are counted as lost, but leave no gap, may be missing anywhere.
    """

    def __init__(self, recording: Source) -> None:
        self._recording = recording
        self._seq = 0
        self._ns = -1

    def gap(self, after: Event) -> None:
        """Events are missing before AFTER, which was read now."""
        self._seq, self._ns = after.seq, after.ns

    def gap_since(self, event: Event) -> bool:
        """Whether a gap is between EVENT and the event that was read last."""
        return self._seq > event.seq

    def after(self, event: Event) -> bool:
        """Whether events may be missing after EVENT. Needs every event to have been read."""
        return self._seq > event.seq or self._anywhere()

    def since(self, ns: int) -> bool:
        """Whether events may be missing after the time NS, in nanoseconds of CLOCK_MONOTONIC.
        Needs every event to have been read."""
        return self._ns > ns or self._anywhere()

    def _anywhere(self) -> bool:
        recording = self._recording
        return recording.lost > recording.last_seq - recording.count
