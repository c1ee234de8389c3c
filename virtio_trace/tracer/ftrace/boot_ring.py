# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot-time events in this tracefs: stop them, drain the ring they are in, remove them.

By kprobe_events and set_event alone: their directories in events/ may be missing (the initcall that
makes them races with tracefs's own). Removing an event wipes the ring, so that comes last.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.ftrace.cmdline import GROUP
from virtio_trace.tracer.ftrace.tracefs import append, event_counts, read, remove_groups

_MODULE_LOAD = "module:module_load"
_CLOCK = re.compile(r"\[(\w+)\]")
_CHUNK = 1 << 16
_COUNTED = ("overrun", "commit overrun", "dropped events")
"""Of per_cpu/cpuN/stats: events that are not in the ring any more, or never were."""


class BootEvents:
    """Those of one tracefs. Every method raises CannotTraceError where tracefs refuses."""

    def __init__(self, tracefs: Path) -> None:
        self._tracefs = tracefs
        self._control = tracefs / "kprobe_events"

    def listed(self) -> str:
        """The text of kprobe_events."""
        return read(self._control)

    def clock(self) -> str:
        """The ring's clock, as trace_clock names it."""
        found = _CLOCK.search(read(self._tracefs / "trace_clock"))
        return found[1] if found else "unknown"

    def counts(self) -> dict[str, tuple[int, int]]:
        """Event name to (hits, missed hits), from kprobe_profile; of all groups."""
        return event_counts(read(self._tracefs / "kprobe_profile"))

    def overrun(self) -> int:
        """Events that the ring has lost so far."""
        total = 0
        for path in sorted(self._tracefs.glob("per_cpu/cpu*/stats")):
            for line in read(path).splitlines():
                name, _, number = line.partition(": ")
                if name in _COUNTED and number.strip().isdigit():
                    total += int(number)
        return total

    def stop(self) -> None:
        """Disable them; the module's events too, which are on for them."""
        for event in (f"{GROUP}:*", _MODULE_LOAD):
            try:
                append(self._tracefs / "set_event", f"!{event}")
            except OSError as error:
                raise CannotTraceError(
                    f"tracefs refused '!{event}' in set_event: {error.strerror}"
                ) from error

    @contextlib.contextmanager
    def pipe(self) -> Iterator[Callable[[], list[str]]]:
        """Holds the ring's one reader; what it gives drains the ring when it is called, to lines
        with their ends."""
        path = self._tracefs / "trace_pipe"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise CannotTraceError(
                f"cannot read {path}: {error.strerror}", "end the other program that reads it"
            ) from error
        try:
            yield lambda: _drain(descriptor)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the group."""
        remove_groups(self._control, lambda group: group == GROUP)


def _drain(descriptor: int) -> list[str]:
    parts = []
    while True:
        try:
            part = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            break
        except OSError as error:
            raise CannotTraceError(f"cannot read trace_pipe: {error.strerror}") from error
        if not part:
            break
        parts.append(part)
    *whole, rest = b"".join(parts).decode("utf-8", "replace").split("\n")
    return [*(f"{line}\n" for line in whole), *([rest] if rest else [])]
