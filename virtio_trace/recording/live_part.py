# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording without the events that the kernel recorded of its own boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from virtio_trace.recording.events import Event
from virtio_trace.recording.source import Source


class LivePart(Source):
    """What the recorder itself saw in RECORDING, as if the kernel had recorded nothing before.

    The events of the boot come first. ``skipped`` is the sequence number of the last one: the
    numbers of the others are counted from there. What the header's snapshot shows was there before.
    """

    def __init__(self, recording: Source) -> None:
        self._recording = recording
        boot, trailer = recording.header.boot, recording.trailer
        self._events = boot.events if boot is not None else 0
        lost = boot.lost if boot is not None else 0
        self.skipped = 0
        self._last = self._count = trailer.events - self._events if trailer is not None else 0
        self._first_ns: int | None = None
        if trailer is not None:
            events = max(trailer.events - self._events, 0)
            trailer = replace(trailer, events=events, lost=max(trailer.lost - lost, 0))
        super().__init__(replace(recording.header, boot=None), trailer)

    def __iter__(self) -> Iterator[Event]:
        """Raises BadInputError."""
        events = iter(self._recording)
        for event in islice(events, self._events):
            self.skipped = event.seq
        self._last = self._count = 0
        self._first_ns = None
        for event in events:
            if self._first_ns is None:
                self._first_ns = event.ns
            self._count += 1
            self._last = event.seq - self.skipped
            yield replace(event, seq=self._last)

    @property
    def count(self) -> int:
        """How many events it has."""
        return self._count

    @property
    def last_seq(self) -> int:
        """The sequence number of the last event; 0 without events."""
        return self._last

    @property
    def first_ns(self) -> int | None:
        """The time of the first event, None without events."""
        return self._first_ns
