# SPDX-License-Identifier: GPL-2.0-or-later
"""Arms every probe point on the running kernel; armed.py is what that gives.

The order: resolve names from symbol tables, define the events in tracefs, attach the program, and
only then take the snapshot of the bus, so that no device is missed in between.

See docs/decisions/0010.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import virtio_trace
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.host import HostKernel, snapshot
from virtio_trace.kernel.running.initrd import InitrdRoot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.recording.bus_state import BusState
from virtio_trace.recording.header import Header
from virtio_trace.tracer.bpf.bytecode import Bytecode
from virtio_trace.tracer.bpf.compile import bytecode
from virtio_trace.tracer.executor.arming import Executor
from virtio_trace.tracer.executor.kernel import build_id
from virtio_trace.tracer.executor.plan import NO_POINT, Plan
from virtio_trace.tracer.ftrace import boot_events
from virtio_trace.tracer.ftrace.boot_events import BootTime, LiveArming
from virtio_trace.tracer.ftrace.boot_ring import BootEvents
from virtio_trace.tracer.ftrace.confirm import ProbeStateTracker
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents, armed_functions
from virtio_trace.tracer.plan.make import KernelIdentity, make
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.session import knowledge_cache
from virtio_trace.tracer.session.armed import ArmedTracer
from virtio_trace.tracer.session.knowledge import Knowledge
from virtio_trace.tracer.session.machine import Machine, Mounts
from virtio_trace.tracer.session.phases import PhaseClock
from virtio_trace.tracer.session.signals import held

REMOVING = "removing the probe points"
"""What PROGRESS is told when a LiveTracer is left."""


class LiveTracer:
    """Arms this kernel. A context manager: on leaving, nothing is armed or defined any more.

    PROGRESS is told what is under way: the name of a phase, or how many points are done.
    """

    def __init__(
        self,
        host: HostKernel,
        mounts: Mounts,
        control: KprobeEvents,
        progress: Callable[[str], None] = lambda _what: None,
    ) -> None:
        self._machine = Machine(host, mounts, control, KernelLog(), InitrdRoot())
        self._cleanup = contextlib.ExitStack()
        self._cleanup.callback(control.remove)
        self._cleanup.callback(self._machine.log.close)
        self._progress = progress
        self.clock = PhaseClock(progress)

    def __enter__(self) -> LiveTracer:
        return self

    def __exit__(self, *exc: object) -> None:
        # A second Ctrl-C must not leave half of it armed.
        with held():
            self._progress(REMOVING)
            self._cleanup.close()

    def arm(self) -> ArmedTracer:
        """Arm everything. Raises CannotTraceError."""
        knowledge, code = self._prepare()
        plan = make(
            self._identity(),
            knowledge.probes,
            knowledge.offsets,
            code,
            group=self._machine.control.group,
        )
        tracker = ProbeStateTracker(knowledge.probes)
        since = time.monotonic_ns()
        executor = self._execute(plan)
        self._arm_points(executor, plan, knowledge.probes, tracker)
        with self.clock.phase("the kernel's boot-time events"):
            boot = self._collect_boot(knowledge, tracker, since)
        with self.clock.phase("snapshot, confirm"):
            snapshot_ns, bus = time.monotonic_ns(), snapshot()
            self._machine.log.know(bus.carried)
            tracker.loaded = set(self._machine.host.loaded_modules())
            tracker.confirm(armed_functions(self._machine.mounts.debugfs))
        header = replace(
            self._header(knowledge),
            probes=tuple(tracker.state(n) for n in range(len(knowledge.probes))),
            snapshot=bus,
            snapshot_ns=snapshot_ns,
            boot=boot.summary if boot is not None else None,
            program=code.origin,
        )
        return ArmedTracer(
            self._machine,
            executor,
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
            started_unix_ns=time.time_ns(),
            blacklist=forbidden(evidence),
            initrd=self._machine.initrd.modules(evidence.modules),
            tool=f"virtio-trace {virtio_trace.__version__}",
            arming_seconds={name: round(s, 3) for name, s in self.clock.seconds.items()},
        )

    def _prepare(self) -> tuple[Knowledge, Bytecode]:
        """What is read, and compiled, before anything is armed."""
        host = self._machine.host
        with self.clock.phase("what is known of this kernel"):
            key = knowledge_cache.key(host)
            known = knowledge_cache.read(key, host.module_tree) if key is not None else None
        if known is None:
            from virtio_trace.tracer.session.learning import learn  # noqa: PLC0415 slow, and rare

            self._progress("reading the kernel's files")
            known = learn(host, self._machine.mounts.tracefs)
            if key is not None:
                knowledge_cache.keep(key, known, host.module_tree)
        for name, seconds in known.seconds.items():
            self.clock.seconds[name] = seconds
        with self.clock.phase("bpf: bytecode"):
            return known, bytecode(host.machine, cookie=known.cookies)

    def _identity(self) -> KernelIdentity:
        host = self._machine.host
        notes = sysfs.data(host.sys / "kernel/notes") or b""
        return KernelIdentity(host.release, build_id(notes), host.machine)

    def _execute(self, plan: Plan) -> Executor:
        """Make the maps and load the programs."""
        with self.clock.phase("bpf: load"):
            tracefs = os.open(self._machine.mounts.tracefs, os.O_DIRECTORY | os.O_CLOEXEC)
            self._cleanup.callback(os.close, tracefs)
            try:
                # A descriptor lost between its creation and its storing would stay.
                with held():
                    executor = Executor(plan, tracefs)
                    self._cleanup.callback(executor.close)
            except (OSError, ValueError) as error:
                said = getattr(error, "strerror", None) or error
                raise CannotTraceError(
                    f"the kernel refused the BPF program: {getattr(error, 'filename', '')}: {said}",
                    "virtio-trace needs Linux 5.8 or later with CONFIG_BPF_SYSCALL, and root",
                ) from error
            return executor

    def _arm_points(
        self,
        executor: Executor,
        plan: Plan,
        probes: Sequence[ResolvedProbe],
        tracker: ProbeStateTracker,
    ) -> None:
        """Arm what can be armed; TRACKER is told when, and what was refused.

        Raises CannotTraceError if all are refused.
        """
        attached = 0
        refusal: CannotTraceError | None = None
        loaded = self._machine.host.loaded_modules()
        for done, point in enumerate(plan.points):
            try:
                with self.clock.phase("tracefs, attach"), held():
                    self._progress(f"{done} of {len(plan.points)}")
                    executor.arm(point)
            except OSError as error:
                refusal = CannotTraceError(f"{error.filename}: {error.strerror}")
                if point.number == NO_POINT:
                    raise refusal from error
                tracker.refused[point.number] = str(refusal)
                continue
            if point.number == NO_POINT:
                continue
            attached += 1
            target = probes[point.number].target
            if target is not None and (target.module is None or target.module in loaded):
                tracker.armed_ns[point.number] = time.monotonic_ns()
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
