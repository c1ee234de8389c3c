# SPDX-License-Identifier: GPL-2.0-or-later
"""Which events of a recording ``script`` prints. Each is decided on as it is read; none is kept,
except the loads of a driver's module until the driver does something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from virtio_trace.check.named import Names
from virtio_trace.errors import UsageError
from virtio_trace.graph.calls import Call, nest
from virtio_trace.recording.events import MODULE, Event
from virtio_trace.recording.source import Source

_LOAD = "module_load"
"""The name of the probe of module loads: the tracepoint module:module_load."""

_MOST = 1000
"""Threads that are remembered. When there are more, all are forgotten."""

_Found = tuple[Event, Call | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is selected; an empty tuple stands for all.

    ``devices`` and ``drivers``: as in check/named.py, but of a driver only what names it, and the
    loads of its module. ``probes``: names of probe points or functions, with wildcards as in
    fnmatch. ``threads``: thread IDs, or names with such wildcards. ``since`` and ``until``: times
    in nanoseconds, inclusive; of CLOCK_MONOTONIC, or, if RELATIVE, since the recording began.
    """

    devices: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in nanoseconds of CLOCK_MONOTONIC; if ``relative``, since the recording began."""

    ns: int
    relative: bool = False


EVERYTHING = Wanted()
_DEVICE, _DRIVER, _THREAD = "device", "driver", "thread"


class Selection:
    """The events of RECORDING that are WANTED.

    The names of devices are looked up in what was read of the recording so far: :meth:`look_up`
    reads all of it before.
    """

    def __init__(self, recording: Source, wanted: Wanted = EVERYTHING) -> None:
        self._recording = recording
        self._wanted = wanted
        self._names = Names(recording.header.evidence, recording.header.snapshot)
        self._learns = bool(wanted.devices or wanted.drivers)
        facts = map(recording.header.evidence.driver, wanted.drivers)
        self._modules = {known.module for known in facts if known is not None}
        self._known_threads: dict[tuple[int, str], set[str]] = {}
        self._seen: dict[str, set[str]] = {_DEVICE: set(), _DRIVER: set(), _THREAD: set()}
        """Those of the wanted names that an event has shown."""
        self._started: int | None = recording.header.started_ns
        _check_probes(recording, wanted.probes)

    def look_up(self) -> None:
        """Read the whole recording. Raises BadInputError, and UsageError for the name of a device
        that the recording does not have."""
        for event in self._recording:
            if self._learns:
                self._names.event(event)
        if self._learns:
            self._names.end(self._recording.trailer)
            self._names.check(self._wanted.devices)

    def check(self) -> None:
        """Raises UsageError if no event is about a device, driver or thread that is wanted, among
        those of the wanted ones before. All events have been read."""
        wanted, subject = self._wanted, "the recording has"
        self._names.check(wanted.devices)
        for what, names, known in (
            (_DEVICE, wanted.devices, (one.words for one in self._names.devices.values())),
            (_DRIVER, wanted.drivers, sorted(self._names.drivers)),
            (_THREAD, wanted.threads, ()),
        ):
            missing = [name for name in names if name not in self._seen[what]]
            if missing:
                there = ", ".join(known)
                raise UsageError(
                    f"{subject} no event of {what} {missing[0]}",
                    f"there are: {there}" if there else "",
                )
            if names:
                subject = f"{what} {', '.join(names)} has"

    def events(self) -> Iterator[Event]:
        """The selected events, in their order. Raises BadInputError."""
        return (event for event, _ in self._selected((event, None) for event in self._recording))

    def calls(self) -> Iterator[_Found]:
        """The same, each with its call in the nesting of all events."""
        return self._selected(nest(self._recording))

    def _selected(self, found: Iterable[_Found]) -> Iterator[_Found]:
        """Loads of a module are held until its driver does something: else there is none."""
        held: list[_Found] = []
        for one in found:
            event = one[0]
            if self._learns:
                self._names.event(event)
            if self._is_selected(event):
                held.append(one)
                if not self._wanted.drivers or self._seen[_DRIVER]:
                    yield from held
                    held.clear()

    def _is_selected(self, event: Event) -> bool:
        wanted = self._wanted
        if wanted.devices and not self._is_of_device(event):
            return False
        if wanted.drivers and not self._is_of_driver(event):
            return False
        if wanted.threads and not self._is_of_thread(event):
            return False
        if wanted.probes and not _is_of_probe(event, wanted.probes):
            return False
        if self._started is None:
            self._started = event.ns
        since, until = wanted.since, wanted.until
        return (since is None or event.ns >= self._ns(since)) and (
            until is None or event.ns <= self._ns(until)
        )

    def _ns(self, moment: Moment) -> int:
        return moment.ns + (self._started or 0) if moment.relative else moment.ns

    def _is_of_device(self, event: Event) -> bool:
        if event.device is None:
            return False
        known = self._names.devices[event.device.address]
        mine = [name for name in self._wanted.devices if known.is_called(name)]
        self._seen[_DEVICE].update(mine)
        return bool(mine)

    def _is_of_driver(self, event: Event) -> bool:
        if event.driver in self._wanted.drivers:
            self._seen[_DRIVER].add(str(event.driver))
            return True
        return event.kind == MODULE and event.module in self._modules

    def _is_of_thread(self, event: Event) -> bool:
        key = event.tid, event.comm
        known = self._known_threads.get(key)
        if known is None:
            if len(self._known_threads) >= _MOST:
                self._known_threads.clear()
            known = self._known_threads[key] = {
                name
                for name in self._wanted.threads
                if name == str(event.tid) or fnmatchcase(event.comm, name)
            }
        self._seen[_THREAD] |= known
        return bool(known)


def _is_of_probe(event: Event, patterns: tuple[str, ...]) -> bool:
    names = (_LOAD,) if event.kind == MODULE else (event.probe or "", event.function or "")
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _check_probes(recording: Source, patterns: tuple[str, ...]) -> None:
    """Raises UsageError for a pattern that no probe point of RECORDING matches."""
    states = (*recording.header.probes, *recording.header.boot_probes)
    points = {_LOAD} | {state.probe for state in states}
    names = points | {state.function for state in states if state.function is not None}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"no probe point is called {pattern}", f"there are: {', '.join(sorted(points))}"
            )
