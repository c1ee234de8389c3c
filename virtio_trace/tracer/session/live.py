# SPDX-License-Identifier: GPL-2.0-or-later
"""Arms every probe point on the running kernel; armed.py is what that gives.

The order: resolve names from symbol tables, define the events in tracefs, attach the program, and
only then take the snapshot of the bus, so that no device is missed in between.

See docs/decisions/0010.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

import virtio_trace
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.host import HostKernel, snapshot
from virtio_trace.kernel.running.initrd import InitrdRoot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.recording.bus_state import BusState
from virtio_trace.recording.header import Header
from virtio_trace.tracer.bpf.loader import Program
from virtio_trace.tracer.ftrace import boot_events
from virtio_trace.tracer.ftrace.boot_events import BootTime, LiveArming
from virtio_trace.tracer.ftrace.boot_ring import BootEvents
from virtio_trace.tracer.ftrace.confirm import ProbeStateTracker
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents, armed_functions
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.session.armed import ArmedTracer, event_name
from virtio_trace.tracer.session.child import in_child
from virtio_trace.tracer.session.knowledge import Knowledge, learn
from virtio_trace.tracer.session.machine import Machine, Mounts
from virtio_trace.tracer.session.phases import PhaseClock
from virtio_trace.tracer.session.signals import held


class LiveTracer:
    """Arms this kernel. A context manager: on leaving, nothing is armed or defined any more."""

    def __init__(self, host: HostKernel, mounts: Mounts, control: KprobeEvents) -> None:
        self._machine = Machine(host, mounts, control, KernelLog(), InitrdRoot())
        self._cleanup = contextlib.ExitStack()
        self._cleanup.callback(control.remove)
        self._cleanup.callback(self._machine.log.close)
        self.clock = PhaseClock()

    def __enter__(self) -> LiveTracer:
        return self

    def __exit__(self, *exc: object) -> None:
        # A second Ctrl-C must not leave half of it armed.
        with held():
            self._cleanup.close()

    def arm(self) -> ArmedTracer:
        """Arm everything. Raises CannotTraceError."""
        program, knowledge = self._prepare()
        tracker = ProbeStateTracker(knowledge.probes)
        program.set_offsets(knowledge.offsets)
        since = time.monotonic_ns()
        with held():
            program.attach_module_load()
        self._arm_points(program, knowledge.probes, tracker)
        with self.clock.phase("the kernel's boot-time events"):
            boot = self._collect_boot(knowledge, tracker, since)
        with self.clock.phase("snapshot, confirm"):
            snapshot_ns, bus = time.monotonic_ns(), snapshot()
            tracker.loaded = set(self._machine.host.loaded_modules())
            tracker.confirm(armed_functions(self._machine.mounts.debugfs))
        header = replace(
            self._header(knowledge),
            probes=tuple(tracker.state(n) for n in range(len(knowledge.probes))),
            snapshot=bus,
            snapshot_ns=snapshot_ns,
            boot=boot.summary if boot is not None else None,
        )
        return ArmedTracer(
            self._machine,
            program,
            knowledge=knowledge,
            tracker=tracker,
            boot=boot,
            header=header,
        )

    def _header(self, knowledge: Knowledge) -> Header:
        """What the recording's first line says of this machine and of the time that arming took."""
        host, evidence = self._machine.host, knowledge.evidence
        self._machine.log.look_for(
            evidence.modules
            | {driver.name for driver in evidence.drivers}
            | {transport.name for transport in evidence.transports}
        )
        return Header(
            release=host.release,
            machine=host.machine,
            evidence=evidence,
            probes=(),
            snapshot=BusState(bus=False),
            started_ns=time.monotonic_ns(),
            blacklist=forbidden(evidence),
            initrd=self._machine.initrd.modules(evidence.modules),
            tool=f"virtio-trace {virtio_trace.__version__}",
            arming_seconds={name: round(s, 3) for name, s in self.clock.seconds.items()},
        )

    def _prepare(self) -> tuple[Program, Knowledge]:
        """Compile the program while a child reads the kernel's files."""
        with in_child(lambda: learn(self._machine.host, self._machine.mounts.tracefs)) as learnt:
            with self.clock.phase("bcc: import and compile"):
                program = Program()
            self._cleanup.callback(program.close)
            with self.clock.phase("wait for the kernel's files"):
                knowledge = learnt()
        for name, seconds in knowledge.seconds.items():
            self.clock.seconds[name] = seconds
        return program, knowledge

    def _arm_points(
        self, program: Program, probes: Sequence[ResolvedProbe], tracker: ProbeStateTracker
    ) -> None:
        """Arm what can be armed; TRACKER is told when, and what was refused.

        Raises CannotTraceError if all are refused.
        """
        control = self._machine.control
        attached: set[str] = set()
        refusal = None
        loaded = self._machine.host.loaded_modules()
        for number, probe in enumerate(probes):
            if probe.target is None:
                continue
            point = probe.point
            # Until both are attached (they come early in the table), any address may be reused.
            redescribe = not attached.issuperset(table.REGISTER)
            name = event_name(number, probe)
            try:
                with self.clock.phase("tracefs"):
                    control.define(name, probe.target, point.returns)
                shape = (number, point.shape(redescribe))
                # A descriptor lost between its creation and its storing keeps the event busy.
                with self.clock.phase("bpf: load and attach"), held():
                    program.attach_probe(shape, control.group, name, point.programs())
            except CannotTraceError as error:
                tracker.refused[number] = str(error)
                refusal = error
            else:
                attached.add(point.name)
                if probe.target.module is None or probe.target.module in loaded:
                    tracker.armed_ns[number] = time.monotonic_ns()
        if refusal is not None and not attached:
            raise refusal

    def _collect_boot(
        self, knowledge: Knowledge, tracker: ProbeStateTracker, since: int
    ) -> BootTime | None:
        """After arming, so that both see what happens in between."""
        host, mounts = self._machine.host, self._machine.mounts
        live = LiveArming(
            since,
            time.monotonic_ns(),
            armed_functions(mounts.debugfs),
            tracker.needed(),
            host.loaded_modules(),
            knowledge.evidence.builtin,
        )
        tracefs = BootEvents(mounts.tracefs)
        return boot_events.collect(tracefs, knowledge.probes, knowledge.members, host.machine, live)
