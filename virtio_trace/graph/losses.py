# SPDX-License-Identifier: GPL-2.0-or-later
"""Where events were lost: what was true before a loss need not be true after it."""

from __future__ import annotations

from itertools import pairwise

from virtio_trace.recording.events import Event
from virtio_trace.recording.reader import Recording


class Losses:
    """The places in RECORDING where events are missing, by the sequence numbers around them.

    Events that are counted as lost, but leave no gap, may be missing anywhere.
    """

    def __init__(self, recording: Recording) -> None:
        self._gaps: list[Event] = []
        """The first event after each gap."""
        if recording.lost:
            events = recording.events
            self._gaps = [after for before, after in pairwise(events) if after.seq - before.seq > 1]
            if events and events[0].seq > 1:
                self._gaps.insert(0, events[0])
        in_gaps = recording.events[-1].seq - len(recording.events) if recording.events else 0
        self._anywhere = recording.lost > in_gaps

    def between(self, first: Event, last: Event) -> bool:
        """Whether a gap is between the two."""
        return any(first.seq < gap.seq <= last.seq for gap in self._gaps)

    def after(self, event: Event) -> bool:
        """Whether events may be missing after EVENT."""
        return self._anywhere or (bool(self._gaps) and self._gaps[-1].seq > event.seq)

    def since(self, ns: int) -> bool:
        """Whether events may be missing after the time NS, in nanoseconds of CLOCK_MONOTONIC."""
        return self._anywhere or (bool(self._gaps) and self._gaps[-1].ns > ns)
