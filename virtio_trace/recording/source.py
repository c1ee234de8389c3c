# SPDX-License-Identifier: GPL-2.0-or-later
"""What every recording has, in memory or in a file: header, events, trailer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from virtio_trace.recording.events import Event
from virtio_trace.recording.header import Header
from virtio_trace.recording.probe_state import NOT_ARMED, ProbeState
from virtio_trace.recording.trailer import Trailer
from virtio_trace.recording.writer import dump


class Source(ABC):
    """A recording whose events can be iterated over, again and again.

    ``trailer`` is None if the recording was truncated. ``count``, ``last_seq`` and ``first_ns`` are
    those of the events of the last iteration; before the first one, a file has what its trailer
    promises. ``is_repeatable`` is False for what can be read only once.
    """

    is_repeatable = True

    def __init__(self, header: Header, trailer: Trailer | None) -> None:
        self.header = header
        self.trailer = trailer

    @abstractmethod
    def __iter__(self) -> Iterator[Event]:
        """The events, in their order. Raises BadInputError."""

    def raw(self) -> Iterator[bytes]:
        """Its bytes, as a file has them. Raises BadInputError."""
        yield dump(self.header.to_json())
        for event in self:
            yield dump(event.to_json())
        if self.trailer is not None:
            yield dump(self.trailer.to_json())

    @property
    @abstractmethod
    def count(self) -> int:
        """How many events it has."""

    @property
    @abstractmethod
    def last_seq(self) -> int:
        """The sequence number of the last event; 0 without events."""

    @property
    @abstractmethod
    def first_ns(self) -> int | None:
        """The time of the first event, None without events."""

    @property
    def probes(self) -> tuple[ProbeState, ...]:
        """Probe points as they were at the end, or as the header lists them without a trailer.
        Those that were not armed at boot, or missed hits then, come last."""
        at_end = self.trailer.probes if self.trailer else self.header.probes
        at_boot = (p for p in self.header.boot_probes if p.state == NOT_ARMED or p.missed)
        return (*at_end, *at_boot)

    @property
    def lost(self) -> int:
        """How many events are known to be lost: counted by the kernel, or missing in between."""
        gaps = self.last_seq - self.count
        if self.trailer is None:
            return gaps
        return max(gaps, self.trailer.lost, self.trailer.events - self.count)

    @property
    def is_whole(self) -> bool:
        """Whether it has a trailer, and no event was lost."""
        return self.trailer is not None and self.lost == 0
