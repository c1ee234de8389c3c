# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls of probed functions, and their nesting by thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from virtio_trace.recording.events import ENTRY, HIT, MODULE, Event
from virtio_trace.virtio import numbers


class Call:
    """One call of a probed function. ``entry`` is None if it was lost. ``ret`` is None if it was
    lost, or the call had not returned when the recording ended. A hit is both.

    ``event``: the entry, or the return if the entry was lost. ``origins``: for each error of the
    calls directly inside it, the symbol of the innermost call that it came from (see Nester).
    ``device``: the ``order`` of the device that it is about; None without one. ``is_lost``: its
    return was lost.
    """

    __slots__ = ("device", "entry", "event", "is_lost", "origins", "parent", "ret")

    def __init__(self, entry: Event | None, ret: Event | None, parent: Call | None) -> None:
        event = entry or ret
        assert event is not None
        self.entry = entry
        self.ret = ret
        self.event = event
        self.parent = parent
        self.origins: dict[int, str] | None = None
        self.device: int | None = None
        self.is_lost = False

    @property
    def result(self) -> int | None:
        """What it returned; None if unknown, or if the function returns void."""
        return self.ret.result if self.ret else None

    @property
    def seqs(self) -> list[int]:
        """The sequence numbers of its events."""
        return [event.seq for event in (self.entry, self.ret) if event is not None]

    @property
    def started_ns(self) -> int | None:
        """When it was entered, in nanoseconds of CLOCK_MONOTONIC; None if unknown."""
        return self.entry.ns if self.entry else None

    @property
    def is_open(self) -> bool:
        """Whether it may still return."""
        return self.ret is None and not self.is_lost

    @property
    def root(self) -> Call:
        """The outermost call that it is inside, or itself."""
        call = self
        while call.parent is not None:
            call = call.parent
        return call

    @property
    def depth(self) -> int:
        """How many calls it is inside."""
        depth, call = 0, self.parent
        while call is not None:
            depth, call = depth + 1, call.parent
        return depth

    @property
    def duration_ns(self) -> int | None:
        """How long it took, in nanoseconds; None if unknown."""
        return self.ret.duration_ns if self.ret else None

    def inside(self, outer: Call | None) -> bool:
        """Whether it ran within OUTER, at any depth, in the same thread."""
        call = self.parent
        while call is not None:
            if call is outer:
                return True
            call = call.parent
        return False


class Nester:
    """Assigns each event to its call, one event at a time; calls are nested by thread.

    A return closes the innermost open call of its probe point and function in its thread. Calls
    inside that are still open have lost their return. Without an open call, the entry was lost. If
    events were lost in between, the open call may be an older one: the return's duration decides.
    If the duration is unknown, the return is not matched to an entry.

    UNRETURNED takes the calls whose return was lost. LOST is called with the number of the events
    that are missing before an event. A call that returns something else than 0
    is noted in the ``origins`` of the call around it. Of several calls with the same result, the
    last one counts.
    """

    def __init__(
        self,
        unreturned: list[Call] | None = None,
        lost: Callable[[int, Event], None] | None = None,
    ) -> None:
        self._open: dict[int, list[Call]] = {}
        self._seq = 0
        self._lost_before = 0
        self._unreturned = unreturned
        self._lost = lost

    def add(self, event: Event) -> Call | None:
        """The call that EVENT begins or ends; None for the load of a module."""
        if event.seq != self._seq + 1:
            self._lost_before = event.seq
            if self._lost is not None:
                self._lost(event.seq - self._seq - 1, event)
        self._seq = event.seq
        kind = event.kind
        if kind == MODULE:
            return None
        stack = self._open.get(event.tid)
        if kind == HIT:
            return Call(event, event, stack[-1] if stack else None)
        if kind == ENTRY:
            if not stack:
                call = Call(event, None, None)
                self._open[event.tid] = [call]
            else:
                call = Call(event, None, stack[-1])
                stack.append(call)
            return call
        if not stack:
            return _returned(Call(None, event, None), event)
        for depth in range(len(stack) - 1, -1, -1):
            call = stack[depth]
            if self._is_return_of(event, call.event):
                for lost in stack[depth + 1 :]:
                    lost.is_lost = True
                    if self._unreturned is not None:
                        self._unreturned.append(lost)
                del stack[depth:]
                if not stack:
                    del self._open[event.tid]  # a recorder may run for days: forget threads
                call.ret = event
                return _returned(call, event)
        return _returned(Call(None, event, stack[-1]), event)

    def open_calls(self) -> list[Call]:
        """The calls that have not returned."""
        return [call for stack in self._open.values() for call in stack]

    def _is_return_of(self, ret: Event, entry: Event) -> bool:
        if ret.probe != entry.probe or ret.function != entry.function:
            return False
        if entry.seq > self._lost_before:
            return True
        # Without a duration, the collector itself was not sure of the entry.
        return ret.duration_ns is not None and ret.ns - ret.duration_ns <= entry.ns


def _returned(call: Call, ret: Event) -> Call:
    outer, result = call.parent, ret.result
    if outer is not None and result:
        origin = call.origins.get(result) if call.origins else None
        if outer.origins is None:
            outer.origins = {}
        outer.origins[result] = origin or call.event.symbol
    return call


def nest(events: Iterable[Event]) -> Iterator[tuple[Event, Call | None]]:
    """Each event with its call (None for the load of a module); see Nester."""
    nester = Nester()
    for event in events:
        yield event, nester.add(event)


def failure(call: Call) -> str:
    """``virtnet_probe [virtio_net] returned -22 (EINVAL)``."""
    name = numbers.errno_name(call.result)
    return f"{call.event.symbol} returned {call.result}" + (f" ({name})" if name else "")
