# SPDX-License-Identifier: GPL-2.0-or-later
"""An armed recorder: gives events as they come, and says what was not seen. live.py makes it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.recording.events import Event
from virtio_trace.recording.header import Header
from virtio_trace.recording.machine_state import BlacklistRule, EndState, Log
from virtio_trace.recording.probe_state import ProbeState
from virtio_trace.tracer.bpf.decoder import Armed, RingDecoder
from virtio_trace.tracer.executor.arming import Executor
from virtio_trace.tracer.executor.ring import split
from virtio_trace.tracer.ftrace.boot_events import BootTime
from virtio_trace.tracer.ftrace.confirm import ProbeStateTracker
from virtio_trace.tracer.ftrace.merge import Stream
from virtio_trace.tracer.ftrace.tracefs import armed_functions
from virtio_trace.tracer.plan.make import event_name
from virtio_trace.tracer.session.knowledge import Knowledge
from virtio_trace.tracer.session.machine import Machine


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What the trailer says of the machine at the end."""

    end_state: EndState
    end_state_ns: int
    log: Log | None
    blacklist: tuple[BlacklistRule, ...]


class ArmedTracer:
    """Every probe point that can be armed, armed. What it is given stays the LiveTracer's, which
    closes it. ``boot`` is what the kernel recorded of its boot, ``header`` the recording's first
    line."""

    def __init__(
        self,
        machine: Machine,
        executor: Executor,
        *,
        knowledge: Knowledge,
        tracker: ProbeStateTracker,
        boot: BootTime | None,
        header: Header,
    ) -> None:
        self._machine = machine
        self._executor = executor
        self._probes = knowledge.probes
        self._evidence = knowledge.evidence
        self._tracker = tracker
        self._decoder = RingDecoder([Armed.of(probe) for probe in knowledge.probes])
        self._stream = Stream(boot.events, boot.overlap) if boot is not None else Stream()
        self.boot = boot
        self.header = header

    def poll(self, milliseconds: int) -> list[Event]:
        """Wait for events, for at most MILLISECONDS."""
        records = self._records(milliseconds)
        while self._stream.waits and (more := self._records(0)):
            records += more
        decoded = map(self._decoder.decode, records)
        found = [event for event in decoded if event is not None]
        self._machine.log.poll()
        for event in found:
            # Its probes were armed when the module was COMING, before this event: now they are
            # in the kernel's list.
            if self._tracker.follow(event):
                self._confirm()
        return self._stream.add(found)

    def aftermath(self) -> Aftermath:
        """The state of the machine now, and what its log said."""
        machine, modules = self._machine, self._evidence.modules
        began = time.monotonic_ns()
        end = read_end_state(modules, debugfs=machine.mounts.debugfs)
        end = replace(end, initrd_left=machine.initrd.is_left())
        log = machine.log.end(end.addresses, end.carried)
        return Aftermath(end, began, log, forbidden(self._evidence))

    def lost(self) -> int:
        """Events that had no room in the ring, or in the kernel's own during boot."""
        return self._executor.lost() + (self.boot.lost if self.boot else 0)

    def states(self) -> list[ProbeState]:
        """What became of each probe point, with the missed hits."""
        missed = self._machine.control.missed()
        self._confirm()
        return [
            self._tracker.state(number, missed=_missed(missed, event_name(number, probe)))
            for number, probe in enumerate(self._probes)
        ]

    def _records(self, milliseconds: int) -> list[bytes]:
        """All records; wait for at most MILLISECONDS, or until many have come."""
        taken, _count = self._executor.take(milliseconds)
        return split(taken)

    def _confirm(self) -> None:
        armed = armed_functions(self._machine.mounts.debugfs)
        self._tracker.confirm(armed, self._decoder.hit)


def _missed(missed: dict[str, int], name: str) -> int:
    return missed.get(name, 0) + missed.get(f"{name}_ret", 0)
