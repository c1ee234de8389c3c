# SPDX-License-Identifier: GPL-2.0-or-later
"""One tracing session: arms every probe point there is, gives events, says what was not seen.

The order is: settle names from symbol tables, define the events in tracefs, attach the program,
and only then look at the bus once (the snapshot), so that nothing falls between the two.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import virtio_trace
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.drivers.evidence import Symbols, functions_of, read_evidence
from virtio_trace.kernel.drivers.in_memory import KernelView, Links, add_registered
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.host import HostKernel, snapshot
from virtio_trace.kernel.running.initrd import InitrdRoot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.kernel.running.proc_kallsyms import of_module
from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.header import Header
from virtio_trace.recording.machine_state import BlacklistRule, EndState, Log
from virtio_trace.recording.probe_state import ARMED, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.bpf.decoder import Armed, Collector
from virtio_trace.tracer.bpf.loader import Program
from virtio_trace.tracer.bpf.offsets import read_offsets
from virtio_trace.tracer.bpf.wire import WireOffsets
from virtio_trace.tracer.ftrace.boot_events import BootTime, Live, take
from virtio_trace.tracer.ftrace.boot_ring import BootEvents
from virtio_trace.tracer.ftrace.merge import Stream
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents, armed_functions
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import STEXT, Settled, settle
from virtio_trace.tracer.points.struct_offsets import struct_offsets
from virtio_trace.tracer.session.signals import held


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where this machine has the file systems that tracing goes through."""

    tracefs: Path
    debugfs: Path


@dataclass(slots=True)
class Knowledge:
    """What was read of this kernel before arming."""

    evidence: Evidence
    offsets: WireOffsets
    settled: list[Settled]
    members: dict[str, int]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """For the trailer: how the machine is at the end, what its log said, what it does not load."""

    end_state: EndState
    log: Log | None
    blacklist: tuple[BlacklistRule, ...]


class Clock:
    """Where the time to arm goes: seconds by phase, for -v and the bench."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what the body takes under NAME."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start


class Session:
    """Use as a context manager; on leaving, nothing is armed and nothing is defined any more."""

    def __init__(self, kernel: HostKernel, mounts: Mounts, control: KprobeEvents) -> None:
        self._kernel = kernel
        self._mounts = mounts
        self._control = control
        self._program: Program | None = None
        self._collector = Collector([])
        self._settled: list[Settled] = []
        self._refused: dict[int, str] = {}
        self._confirmed: set[int] = set()
        self._armed_ns: dict[int, int] = {}
        self._came: set[str] = set()
        self._modules: set[str] = set()
        self._evidence: Evidence | None = None
        self._log = KernelLog()
        self._first = InitrdRoot()
        self._stream = Stream()
        self.boot: BootTime | None = None
        self.clock = Clock()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        # A second Ctrl-C must not leave half of it armed.
        with held():
            try:
                self._log.close()
                if self._program is not None:
                    self._program.close()
            finally:
                self._control.remove()

    def arm(self) -> Header:
        """Arm everything; returns the header of the recording. Raises CannotTraceError."""
        tree = ModuleTree(self._kernel.module_tree)
        # LLVM compiles without Python's lock, so the kernel's files are read meanwhile.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            knowing = pool.submit(self._know, tree)
            with self.clock.phase("bcc: import and compile"):
                self._program = Program()
            with self.clock.phase("wait for the kernel's files"):
                knowledge = knowing.result()
        self._settled = knowledge.settled
        evidence = knowledge.evidence
        self._evidence, self._modules = evidence, evidence.modules
        names = {d.name for d in evidence.drivers} | {t.name for t in evidence.transports}
        self._log.look_for(self._modules | names)
        self._collector = Collector([_armed(s) for s in self._settled])
        self._program.set_offsets(knowledge.offsets)
        since = time.monotonic_ns()
        with held():
            self._program.attach_module_load()
        self._arm_points(self._program)
        with self.clock.phase("the kernel's boot-time events"):
            self._take_boot(knowledge, since, time.monotonic_ns())
        with self.clock.phase("snapshot, confirm"):
            snapshot_ns, bus = time.monotonic_ns(), snapshot()
            self._came = set(self._kernel.loaded_modules())
            self._confirm()
        return Header(
            release=self._kernel.release,
            machine=self._kernel.machine,
            evidence=evidence,
            probes=tuple(self.states(final=False)),
            snapshot=bus,
            started_ns=time.monotonic_ns(),
            blacklist=forbidden(evidence),
            initrd=self._first.modules(self._modules),
            snapshot_ns=snapshot_ns,
            boot=self.boot.summary if self.boot is not None else None,
            tool=f"virtio-trace {virtio_trace.__version__}",
            arming_seconds={name: round(s, 3) for name, s in self.clock.seconds.items()},
        )

    def poll(self, milliseconds: int) -> list[Event]:
        """Wait for events, at most so long."""
        assert self._program is not None
        taken = self._program.poll(milliseconds)
        while self._stream.waits and (more := self._program.poll(0)):
            taken += more
        told = map(self._collector.take, taken)
        found = [event for event in told if event is not None]
        self._log.poll()
        for event in found:
            if event.kind == ev.MODULE:
                self._came.add(str(event.module))
                # Armed when the module was COMING, before this event: now it must be in the list.
                self._confirm()
            elif event.probe == "do_init_module" and event.result and event.detail:
                self._came.discard(str(event.detail.name))  # gone again, its kprobes with it
        return self._stream.add(found)

    def aftermath(self) -> Aftermath:
        """For the trailer: how the machine is now, and what its log said."""
        assert self._evidence is not None
        end = read_end_state(self._modules, debugfs=self._mounts.debugfs)
        end = replace(end, initrd_left=self._first.is_left())
        return Aftermath(end, self._log.end(end.addresses), forbidden(self._evidence))

    def lost(self) -> int:
        """Events that found no room in the ring, or in the kernel's own at boot."""
        assert self._program is not None
        return self._program.lost() + (self.boot.lost if self.boot else 0)

    def states(self, final: bool = True) -> list[ProbeState]:
        """What became of each probe point; FINAL: with missed hits, and the unconfirmed refused."""
        missed = self._control.missed() if final else {}
        if final:
            self._confirm()
        return [self._state(number, missed) for number in range(len(self._settled))]

    def _state(self, number: int, missed: dict[str, int]) -> ProbeState:
        settled = self._settled[number]
        name = _event_name(number, settled)
        count = missed.get(name, 0) + missed.get(f"{name}_ret", 0)
        if number in self._refused:
            return settled.state(NOT_ARMED, self._refused[number])
        if number in self._confirmed:
            return settled.state(ARMED, missed=count, armed_ns=self._armed_ns.get(number))
        module = settled.target.module if settled.target else None
        if module is not None and module not in self._came:
            return settled.state(WAITING)
        return settled.state(NOT_ARMED, "accepted, but not in the kernel's list of kprobes")

    def _know(self, tree: ModuleTree) -> Knowledge:
        symbols = Symbols(tree)
        with self.clock.phase("the kernel's BTF and module files"):
            btf = Btf.running()
            evidence = read_evidence(tree, btf, symbols, self._kernel.machine)
            offsets = read_offsets(btf, symbols, self._mounts.tracefs)
        with self.clock.phase("kallsyms"):
            addresses = self._kernel.addresses()
        with self.clock.phase("drivers without a file"):
            shape = symbols.layout.structs.get("virtio_driver") if symbols.layout else None
            kernel = KernelView(tree, lambda: Links.from_btf(btf), addresses, shape)
            evidence = add_registered(evidence, kernel)
        points = table.points(evidence)
        with self.clock.phase("kallsyms"):
            names = {symbol for point in points for symbol in point.symbols}
            found = addresses.functions({*names, STEXT})
        settled = settle(points, of_module(found, None), functions_of(symbols, found))
        return Knowledge(evidence, offsets, settled, struct_offsets(btf, symbols))

    def _arm_points(self, program: Program) -> None:
        """One that is refused is carried into the recording; a kernel that refuses all cannot."""
        attached: set[str] = set()
        refusal = None
        loaded = self._kernel.loaded_modules()
        for number, settled in enumerate(self._settled):
            if settled.target is None:
                continue
            point = settled.point
            # They come first in the table; without them, any address may be another's at any time.
            anew = not attached.issuperset(table.REGISTER)
            name = _event_name(number, settled)
            try:
                with self.clock.phase("tracefs"):
                    self._control.define(name, settled.target, point.returns)
                shape = (number, point.shape(anew))
                # A descriptor that is lost between its making and its keeping keeps the event busy.
                with self.clock.phase("bpf: load and attach"), held():
                    program.attach_probe(shape, self._control.group, name, point.programs())
            except CannotTraceError as error:
                self._refused[number] = str(error)
                refusal = error
            else:
                attached.add(point.name)
                if settled.target.module is None or settled.target.module in loaded:
                    self._armed_ns[number] = time.monotonic_ns()
        if refusal is not None and not attached:
            raise refusal

    def _take_boot(self, knowledge: Knowledge, since: int, armed: int) -> None:
        """Only now: what comes between is seen by both."""
        live = Live(
            since,
            armed,
            armed_functions(self._mounts.debugfs),
            self._needed(),
            self._kernel.loaded_modules(),
            knowledge.evidence.builtin,
        )
        tracefs = BootEvents(self._mounts.tracefs)
        machine = self._kernel.machine
        self.boot = take(tracefs, knowledge.settled, knowledge.members, machine, live)
        if self.boot is not None:
            self._stream = Stream(self.boot.events, self.boot.overlap)

    def _needed(self) -> Counter[tuple[str, str, str | None]]:
        """How often the kernel's list of kprobes has to have each function."""
        return Counter(
            key
            for number, settled in enumerate(self._settled)
            if number not in self._refused
            for key in settled.listed
        )

    def _confirm(self) -> None:
        """Accepted is not armed: believe the kernel's own list."""
        armed = armed_functions(self._mounts.debugfs)
        needed = self._needed()
        for number, settled in enumerate(self._settled):
            keys = settled.listed
            if keys and all(armed[key] >= needed[key] for key in keys):
                self._confirmed.add(number)
        # A module may have come and gone between two looks; what was hit was armed.
        self._confirmed |= self._collector.hit


def _armed(settled: Settled) -> Armed:
    target = settled.target
    if target is None:
        return Armed(settled.point, settled.point.symbols[0], settled.point.module)
    return Armed(settled.point, target.symbol, target.module)


def _event_name(number: int, settled: Settled) -> str:
    return f"{settled.point.name}_{number}"
