# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot-time events in this tracefs: stop them, drain their ring, remove them.

Only kprobe_events and set_event are used: the directories in events/ may be missing, because the
initcall that makes them races with tracefs's. Removing an event clears the ring, so it comes last.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.ftrace.cmdline import GROUP
from virtio_trace.tracer.ftrace.confirm import ring_losses
from virtio_trace.tracer.ftrace.tracefs import append, event_counts, read, remove_groups

_MODULE_LOAD = "module:module_load"
_CLOCK = re.compile(r"\[(\w+)\]")
_CHUNK = 1 << 16


class BootEvents:
    """Those of one tracefs. Every method raises CannotTraceError if tracefs refuses."""

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
        paths = sorted(self._tracefs.glob("per_cpu/cpu*/stats"))
        return ring_losses(line for path in paths for line in read(path).splitlines())

    def stop(self) -> None:
        """Disable them, and module:module_load, which was enabled with them."""
        for event in (f"{GROUP}:*", _MODULE_LOAD):
            try:
                append(self._tracefs / "set_event", f"!{event}")
            except OSError as error:
                raise CannotTraceError(
                    f"tracefs refused '!{event}' in set_event: {error.strerror}"
                ) from error

    @contextlib.contextmanager
    def pipe(self) -> Iterator[Callable[[], list[str]]]:
        """Hold the ring's only reader. Calling the result drains the ring: lines, ends included."""
        path = self._tracefs / "trace_pipe"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise CannotTraceError(
                f"cannot read {path}: {error.strerror}", "stop the other program that reads it"
            ) from error
        try:
            yield lambda: _drain(descriptor)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the group. Raises CannotTraceError if an event of it stays busy."""
        remove_groups(self._control, lambda group: group == GROUP).require()


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
