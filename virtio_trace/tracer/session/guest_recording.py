# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording of a guest, assembled on the host from what the guest's executor sends.

The ring's records are decoded by the same code as a live recording's; what a live recorder reads of
the machine comes as sections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import virtio_trace
from virtio_trace.errors import IncompleteError
from virtio_trace.kernel.files.module_tree import module_name
from virtio_trace.kernel.running import kmsg, sysfs_text
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.recording.events import Event
from virtio_trace.recording.header import Header
from virtio_trace.recording.machine_state import BlacklistRule, EndState, Initrd, Log
from virtio_trace.recording.probe_state import ProbeState
from virtio_trace.recording.trailer import Trailer
from virtio_trace.recording.writer import LineStream, Writer
from virtio_trace.tracer.bpf.decoder import MOST_LOST, Armed, RingDecoder
from virtio_trace.tracer.executor.plan import Plan, Point
from virtio_trace.tracer.executor.ring import split
from virtio_trace.tracer.ftrace import boot_events
from virtio_trace.tracer.ftrace.boot_events import BootTime, LiveArming
from virtio_trace.tracer.ftrace.confirm import ProbeStateTracker, armed_in
from virtio_trace.tracer.ftrace.merge import Stream
from virtio_trace.tracer.ftrace.tracefs import event_counts
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.session import guest_sections as read
from virtio_trace.tracer.session.guest_sections import Glance, Scratch, Section

_MOST_GLANCES = 100

MOST_KEPT = 64 << 20
"""Bytes of records before the recording begins, and characters of sections: a guest must not fill
the host's memory. A real guest has some 200 KB."""
_RECORD_BYTES = 64
"""What a record takes beside its content."""

_FAILURE = 1000
"""Characters of a guest's reason that are shown."""

_LOCKED_DOWN = "the kernel is locked down (confidentiality): it refuses kprobes"


@dataclass(frozen=True, slots=True)
class GuestTask:
    """What a guest records. ``command`` is for the header. ``third_party``: its initrd is not
    ours. ``only_initrd``: ``kernel`` is by the modules in its initrd. ``program``: what compiled
    the BPF program."""

    kernel: OfflineKernel
    plan: Plan
    command: tuple[str, ...]
    third_party: bool
    program: str
    only_initrd: bool = False


class GuestRecording:
    """Consumes a guest's frames and passes a recording's lines to WRITE.

    ``glances`` are the last looks at the guest, until they are taken. ``failure``: why its executor
    could not arm; None: it could, or has not begun. ``is_over``: the trailer was written.
    """

    def __init__(self, task: GuestTask, write: Callable[[bytes], None], scratch: Scratch) -> None:
        self._task = task
        self._writer = Writer(LineStream(write))
        self._scratch = scratch
        kernel = task.kernel
        self._decoder = RingDecoder([Armed.of(probe) for probe in kernel.probes])
        self._tracker = ProbeStateTracker(kernel.probes)
        self._stream = Stream()
        self._boot: BootTime | None = None
        self._sections: dict[str, Section] = {}
        self._early: list[bytes] | None = []
        self._kept = self._early_size = 0
        self._log = KernelLog(None)
        evidence = kernel.evidence
        self._log.look_for(
            evidence.modules
            | {driver.name for driver in evidence.drivers}
            | {transport.name for transport in evidence.transports}
        )
        self._missing = 0
        self.glances: list[Glance] = []
        self.failure: str | None = None
        self.is_over = False

    @property
    def began(self) -> bool:
        """Whether everything is armed, and the header is written."""
        return self._early is None

    def records(self, payload: bytes) -> None:
        """A frame of ring records. Raises IncompleteError: too many before the recording begins."""
        if self.is_over:
            return
        records = split(payload)
        if self._early is None:
            self._events(records)
            return
        size = len(payload) + _RECORD_BYTES * len(records)
        self._early_size += size
        self._keep(size)
        self._early += records

    def section(self, payload: bytes) -> None:
        """A frame with a section. Raises IncompleteError if it cannot be understood."""
        if self.is_over:
            return
        section = read.parse(payload)
        if section is None:
            self._missing += 1
            return
        try:
            self._take(section)
        except ValueError as error:
            raise IncompleteError(
                f"the guest's output cannot be understood: {section.name}: {error}",
                "--keep-console FILE saves what its kernel printed",
            ) from error

    def lose(self, records: int) -> None:
        """The wire lost RECORDS of the ring, or a section (0)."""
        self._decoder.skip(records)
        self._missing = min(self._missing + (records or 1), MOST_LOST)

    def end(self) -> None:
        """The last frame."""
        if self._early is not None or self.is_over:
            return
        self.is_over = True
        self._writer.trailer(self._trailer())

    def _take(self, section: Section) -> None:
        name = section.name
        if name == "look":
            glance = read.glance(section.text)
            self.glances += [glance] if glance is not None else []
            del self.glances[:-_MOST_GLANCES]
        elif name == "kmsg":
            self._kmsg(section)
        elif name == "failed":
            self.failure = self._why_not(section.text[:_FAILURE])
        elif name == "kprobes loaded":
            self._tracker.confirm(armed_in(section.text), self._decoder.hit)
        elif read.is_known(name):
            before = self._sections.pop(name, None)
            self._keep(len(section.text) - (len(before.text) if before else 0))
            self._sections[name] = section
            if name == "ready":
                self._begin()

    def _keep(self, more: int) -> None:
        """Count MORE bytes that are kept. Raises IncompleteError."""
        self._kept += more
        if self._kept > MOST_KEPT:
            raise IncompleteError(
                f"the guest sent more than {MOST_KEPT >> 20} MiB beside its recording's events",
                "--keep-console FILE saves what its kernel printed",
            )

    def _why_not(self, failed: str) -> str:
        """Why the executor FAILED: where the kernel is locked down, that is the reason. A second
        line says what to do."""
        if "[confidentiality]" in self._text("lockdown"):
            return f"{_LOCKED_DOWN}\nboot without lockdown=confidentiality"
        return failed

    def _kmsg(self, section: Section) -> None:
        for record in kmsg.records(section.text.splitlines()):
            if record == b"lost":
                self._log.lose()
            else:
                self._log.hear(record, section.ns)

    # -- the start

    def _begin(self) -> None:
        """All probes are armed: write the header, and what has come since."""
        if self._early is None:
            raise ValueError("it began twice")
        text = self._text
        points = read.armed(text("armed"))
        loaded = read.modules(text("modules start"))
        self._tracker.refused.update(read.refused(text("refused")))
        self._tracker.loaded = set(loaded)
        for number, ns in points.ns.items():
            probe = self._probe(number)
            if probe.target and (probe.target.module is None or probe.target.module in loaded):
                self._tracker.armed_ns[number] = ns
        listed = armed_in(text("kprobes start"))
        self._boot = self._boot_time(points, listed, loaded)
        self._tracker.confirm(listed)
        self._writer.header(self._header(points))
        if self._boot is not None:
            self._stream = Stream(self._boot.events, self._boot.overlap)
        early, self._early = self._early, None
        self._kept -= self._early_size
        self._events(early)

    def _boot_time(
        self, points: read.ArmedPoints, listed: Mapping[Any, int], loaded: Mapping[str, bool]
    ) -> BootTime | None:
        ring = read.boot_ring(self._sections)
        if ring is None:
            return None
        kernel = self._task.kernel
        live = LiveArming(
            points.since,
            points.until,
            listed,
            self._tracker.needed(),
            loaded,
            kernel.builtin,
            points.shared,
        )
        return boot_events.interpret(ring, kernel.probes, kernel.offsets, kernel.machine, live)

    def _header(self, points: read.ArmedPoints) -> Header:
        kernel, evidence = self._task.kernel, self._task.kernel.evidence
        ready = self._sections["ready"].ns
        with self._scratch() as root:
            read.rebuild(self._sections, "start", root)
            bus, rules = snapshot(root / "sys"), forbidden(evidence, root)
        self._log.know(bus.carried)
        initrd = None
        if self._task.third_party and read.is_initrd(self._text("root start")):
            found = {module_name(name) for name in self._text("initrd").splitlines()}
            initrd = Initrd(tuple(sorted(found & evidence.modules)), self._task.only_initrd)
        return Header(
            release=kernel.release,
            machine=kernel.machine,
            evidence=evidence,
            probes=tuple(self._states({})),
            snapshot=bus,
            started_ns=points.since,
            blacklist=rules,
            initrd=initrd,
            snapshot_ns=self._sections["sysfs start"].ns
            if "sysfs start" in self._sections
            else ready,
            boot=self._boot.summary if self._boot is not None else None,
            tool=f"virtio-trace {virtio_trace.__version__}",
            program=self._task.program,
            arming_seconds={"arming": round((points.until - points.since) / 1e9, 3)},
            command=self._task.command,
        )

    # -- while it runs

    def _events(self, records: list[bytes]) -> None:
        decoded = map(self._decode, records)
        found = [event for event in decoded if event is not None]
        for event in found:
            self._tracker.follow(event)
        self._writer.write(self._stream.add(found))

    def _decode(self, record: bytes) -> Event | None:
        """A record of the guest's, who may have sent anything."""
        try:
            return self._decoder.decode(record)
        except (ValueError, LookupError):
            self._missing += 1
            return None

    # -- the end

    def _trailer(self) -> Trailer:
        lost = read.number(self._text("lost"))
        state, rules = self._end_state()
        status = read.number(self._text("end"))
        self._tracker.confirm(armed_in(self._text("kprobes end")), self._decoder.hit)
        return Trailer(
            events=self._writer.events,
            # Without its last section, the count is of what the events say.
            lost=min(
                (self._decoder.lost_in_ring if lost is None else lost)
                + self._missing
                + (self._boot.lost if self._boot else 0),
                MOST_LOST,
            ),
            ended="command",
            probes=tuple(self._states(event_counts(self._text("profile")))),
            command_status=status or 0,
            end_state=state,
            end_state_ns=self._sections["sysfs end"].ns if state is not None else None,
            log=self._kernel_log(state),
            blacklist=rules,
            ended_ns=max((section.ns for section in self._sections.values()), default=None),
        )

    def _end_state(self) -> tuple[EndState | None, tuple[BlacklistRule, ...] | None]:
        if "sysfs end" not in self._sections:
            return None, None
        evidence = self._task.kernel.evidence
        with self._scratch() as root:
            read.rebuild(self._sections, "end", root)
            end = read_end_state(evidence.modules, root / "sys", root / sysfs_text.DEBUGFS)
            rules = forbidden(evidence, root)
        if self._task.third_party and read.is_initrd(self._text("root start")):
            end = replace(end, initrd_left=read.is_left(self._text("root end")))
        return end, rules

    def _kernel_log(self, end: EndState | None) -> Log:
        return self._log.about(end.addresses, end.carried) if end else self._log.about(())

    def _states(self, counts: Mapping[str, tuple[int, int]]) -> list[ProbeState]:
        out = []
        names = {point.number: _event_names(point) for point in self._task.plan.points}
        for number in range(len(self._task.kernel.probes)):
            missed = sum(counts.get(name, (0, 0))[1] for name in names.get(number, ()))
            out.append(self._tracker.state(number, missed=missed))
        return out

    def _probe(self, number: int) -> ResolvedProbe:
        probes = self._task.kernel.probes
        if number >= len(probes):
            raise ValueError(f"there is no probe {number}")
        return probes[number]

    def _text(self, name: str) -> str:
        return self._sections[name].text if name in self._sections else ""


def _event_names(point: Point) -> set[str]:
    """The names that POINT's events may have in tracefs, without their groups."""
    places = (place for event in point.events for place in (event.known, event.place) if place)
    return {place.rpartition("/")[2] for place in places}
