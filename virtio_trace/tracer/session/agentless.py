# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording of a guest without an agent, assembled on the host from what the guest prints.

The guest's script (vm/guest/plain) prints the trace ring's text as it comes. Before and after it,
sections say what tracefs refused, which kprobes the kernel lists, what sysfs, counters and the log
have. All are decoded here, with what the kernel's files say, to a recording like any other.

See docs/decisions/0018.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import virtio_trace
from virtio_trace.errors import IncompleteError
from virtio_trace.kernel.running import kmsg, sysfs_text
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.recording.bus_state import BusState
from virtio_trace.recording.events import Event
from virtio_trace.recording.header import Header
from virtio_trace.recording.machine_state import BlacklistRule, EndState, Log
from virtio_trace.recording.probe_state import ProbeState
from virtio_trace.recording.trailer import Trailer
from virtio_trace.recording.writer import LineStream, Writer
from virtio_trace.tracer.ftrace.confirm import ring_losses
from virtio_trace.tracer.ftrace.text_decoder import TextDecoder
from virtio_trace.tracer.ftrace.text_line import LINE
from virtio_trace.tracer.session.agentless_arming import GuestArming
from virtio_trace.tracer.session.agentless_states import GuestProbeStates

END = "virtio-trace: end"
"""The last line of the guest's kernel log."""

BEGIN = "tracing_mark_write: virtio-trace: begin"
"""The end of the line that the guest's script writes into the ring when user space begins."""

_SECTION = "@@ "
"""A line that begins a section: then comes its name and, for some, the only line of it."""

_LATEST = 1e9
"""Seconds since boot: the kernel counts nanoseconds in 63 bits."""

_ONE_LINE = ("uptime", "ended")
"""The sections that have only that line."""


Scratch = Callable[[], AbstractContextManager[Path]]


class Guest:
    """Consumes the guest's lines and passes a recording's to WRITE. SCRATCH provides an empty
    folder for the time of a with statement."""

    def __init__(self, arms: GuestArming, write: Callable[[bytes], None], scratch: Scratch) -> None:
        self._arms = arms
        self._writer = Writer(LineStream(write))
        self._scratch = scratch
        self._decoder = TextDecoder([*arms.line.armed, *arms.late], arms.kernel.offsets)
        self._states = GuestProbeStates(arms.kernel.probes, arms.line, arms.late)
        self._section = ""
        self._lines: list[str] = []
        self._early: list[Event] | None = []
        self._bus: BusState | None = None
        self._blacklist: tuple[BlacklistRule, ...] = ()
        self._log = KernelLog(None)
        self._end_state: EndState | None = None
        self._kernel_log: Log | None = None
        self._addresses: set[str] = set()
        self._started: int | None = None
        self._lost = 0
        self._is_over = False
        evidence = arms.kernel.evidence
        names = {d.name for d in evidence.drivers} | {t.name for t in evidence.transports}
        self._log.look_for(evidence.modules | names)
        self._sections: dict[str, Callable[[list[str]], None]] = {
            "refused": self._refused,
            "kprobes": self._kprobes,
            "modules": self._states.tracker.loaded.update,
            "sysfs": self._sysfs,
            "uptime": self._uptime,
            "profile": self._states.profile,
            "stats": self._stats,
            "kmsg": self._kmsg,
            "ended": self._ended,
        }

    def consume(self, line: bytes) -> None:
        """One line of what the guest prints, its end included.

        Raises IncompleteError if a section cannot be understood.
        """
        if self._is_over:
            return  # nothing follows a trailer
        text = line.decode("utf-8", "backslashreplace")
        if text.startswith(_SECTION):
            self._end_section()
            self._section, _, rest = text.removeprefix(_SECTION).strip().partition(" ")
            self._lines = [rest] if rest else []
            if self._section in _ONE_LINE:
                self._end_section()
        elif self._section == "trace":
            self._trace(text)
        else:
            self._lines.append(text.rstrip("\r\n"))

    def _trace(self, text: str) -> None:
        """A line of the ring. Events wait until user space begins: the header comes first."""
        if text.rstrip().endswith(BEGIN):
            if self._early is not None:
                self._header(text)
            return
        event = self._decoder.event(text)
        if event is None:
            return
        self._states.tracker.follow(event)
        if self._early is None:
            self._writer.write([event])
        else:
            self._early.append(event)

    def _end_section(self) -> None:
        """A section is complete. Unknown ones, of a newer script, are ignored."""
        section = self._sections.get(self._section)
        try:
            if section is not None:
                section(self._lines)
        except (ValueError, IndexError) as error:
            raise IncompleteError(
                f"the guest's output cannot be understood: {self._section}: {error}",
                "--keep-console FILE saves what its kernel printed",
            ) from error
        self._section, self._lines = "", []

    # -- the sections

    def _refused(self, lines: list[str]) -> None:
        self._states.refuse(lines, self._arms.commands)

    def _kprobes(self, lines: list[str]) -> None:
        self._states.listed("\n".join(lines))

    def _sysfs(self, lines: list[str]) -> None:
        """The first one is the snapshot, the second one the state at the end."""
        evidence = self._arms.kernel.evidence
        with self._scratch() as root:
            sysfs_text.rebuild(lines, root)
            if self._bus is None:
                self._bus = snapshot(root / "sys")
                self._log.know(self._bus.carried)
                self._blacklist = forbidden(evidence, root)
                return
            end = read_end_state(evidence.modules, root / "sys", root / sysfs_text.DEBUGFS)
        self._end_state = end
        self._addresses = end.addresses
        self._log.know(end.carried)

    def _uptime(self, lines: list[str]) -> None:
        seconds = float(lines[0].split()[0])
        if not 0 <= seconds < _LATEST:
            raise ValueError(f"{seconds} seconds since boot")
        self._started = round(seconds * 1e9)

    def _stats(self, lines: list[str]) -> None:
        self._lost = ring_losses(lines)

    def _kmsg(self, lines: list[str]) -> None:
        found = list(kmsg.records(lines))
        for record in found:
            line = kmsg.parse(record)
            if line is not None:
                self._log.take(line)
        log = self._log.about(self._addresses)
        whole = kmsg.is_whole(found) and END.encode() in found[-1]
        self._kernel_log = replace(log, lost=log.lost or not whole)

    def _ended(self, lines: list[str]) -> None:
        if self._early is not None:
            raise ValueError("it never said that user space had begun")
        self._is_over = True
        self._writer.trailer(
            Trailer(
                events=self._writer.events,
                lost=max(self._decoder.lost, self._lost),
                ended="command",
                probes=tuple(self._probes()),
                command_status=int(lines[0]),
                end_state=self._end_state,
                log=self._kernel_log,
            )
        )

    # -- the header

    def _header(self, marker: str) -> None:
        """MARKER is the line that the guest's script wrote into the ring when user space began."""
        kernel = self._arms.kernel
        early, self._early = self._early or [], None
        began = time_of(marker)
        self._states.armed_late(began)
        self._writer.header(
            Header(
                release=kernel.release,
                machine=kernel.machine,
                evidence=kernel.evidence,
                probes=tuple(self._probes()),
                snapshot=self._bus or BusState(bus=False),
                started_ns=self._started,
                blacklist=self._blacklist,
                snapshot_ns=began,
                user_space_ns=began,
                tool=f"virtio-trace {virtio_trace.__version__}",
                collector="ftrace",
                command=("/virtio-trace/drive",),
            )
        )
        self._writer.write(early)

    def _probes(self) -> list[ProbeState]:
        return self._states.states(self._decoder.hits)


def time_of(line: str) -> int | None:
    """When a LINE of the ring was written, in nanoseconds; None if it is not such a line."""
    found = LINE.fullmatch(line.strip())
    if found is None:
        return None
    return int(found["s"]) * 1_000_000_000 + int(found["us"]) * 1000
