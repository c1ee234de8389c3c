# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording of a guest that has no agent, assembled on the host from what the guest hands out.

The guest's script (vm/guest/plain) gives the trace ring's text as it comes, and sections before and
after it: what tracefs refused, the kernel's list of kprobes, sysfs, counts, the kernel's log. What
they mean is worked out here, with what the kernel's files say; the recording is like any other.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import virtio_trace
from virtio_trace.errors import IncompleteError
from virtio_trace.kernel.running import kmsg, sysfs_text
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import final
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.recording.header import ProbeState
from virtio_trace.recording.writer import Writer
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.ftrace.fetchargs import Definition, definitions
from virtio_trace.tracer.ftrace.text_decoder import RingText
from virtio_trace.tracer.ftrace.text_line import LINE
from virtio_trace.tracer.ftrace.tracefs import MAXACTIVE
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import Kernel
from virtio_trace.tracer.session.agentless_states import States

GROUP = "vtl"
"""The group of the events that the guest's script defines: beside bootline.GROUP."""

LOG = "log_buf_len=2M"
"""The kernel's log is read from user space on, and is to have all from the start: initcall_debug
alone makes more than the usual 128 KB."""

END = "virtio-trace: end"
BEGIN = "tracing_mark_write: virtio-trace: begin"
_SECTION = "@@ "
_LATEST = 1e9
"""Seconds since boot: the kernel's clock counts in 63 bits of nanoseconds."""
_LOSSES = ("overrun", "commit overrun", "dropped events")


@dataclass(frozen=True, slots=True)
class Arming:
    """What a guest is to trace: ``line`` from the kernel's start on; ``late`` from user space on,
    before the first module is loaded."""

    kernel: Kernel
    line: BootLine
    late: tuple[Definition, ...]

    @property
    def parameters(self) -> str:
        """For the kernel's command line: the clock and the ring's size, whatever is traced."""
        return f"{LOG} {self.line.text or cmdline.SWITCHES}"

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines for kprobe_events."""
        return tuple(one.command(GROUP, MAXACTIVE) for one in self.late)

    @property
    def enable(self) -> tuple[str, ...]:
        """The lines for set_event."""
        return (f"{GROUP}:*", "module:module_load")


def arming(kernel: Kernel, room: int) -> Arming:
    """What is built in goes on the command line, in ROOM characters, the most important first."""
    short = definitions(kernel.settled, kernel.offsets, kernel.machine, whole=False)
    early = cmdline.worth_arming(short, kernel.builtin, modules=False)
    if "virtio_mmio" not in kernel.builtin:  # nobody needs it before that is loaded
        early = [one for one in early if one.point is not table.RING]
    line = cmdline.boot_line(early, room - len(LOG) - 1)
    numbers = {one.number for one in line.armed}
    whole = definitions(kernel.settled, kernel.offsets, kernel.machine)
    return Arming(kernel, line, tuple(one for one in whole if one.number not in numbers))


class _Lines(io.BytesIO):
    """What is written, line by line, to a function."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__()
        self._take = take

    def write(self, data: Any) -> int:
        """Whole lines, as recording.Writer has them."""
        for line in bytes(data).splitlines(keepends=True):
            self._take(line)
        return len(data)


Scratch = Callable[[], AbstractContextManager[Path]]


class Guest:
    """Takes the guest's lines in, gives a recording's to WRITE. SCRATCH gives an empty folder, for
    as long as it is needed."""

    def __init__(self, arms: Arming, write: Callable[[bytes], None], scratch: Scratch) -> None:
        self._arms = arms
        self._writer = Writer(_Lines(write))
        self._scratch = scratch
        self._ring = RingText([*arms.line.armed, *arms.late], arms.kernel.offsets)
        self._states = States(arms.kernel.settled, arms.line, arms.late)
        self._section = ""
        self._lines: list[str] = []
        self._early: list[Event] | None = []
        self._bus: dict[str, Any] | None = None
        self._forbidden: list[dict[str, Any]] = []
        self._log = KernelLog(None)
        self._trailer: dict[str, Any] = {}
        self._addresses: set[str] = set()
        self._started: int | None = None
        self._lost = 0
        self._ended = False
        evidence = arms.kernel.evidence
        names = {d.name for d in evidence.drivers} | {t.name for t in evidence.transports}
        self._log.look_for(evidence.modules | names)

    def take(self, line: bytes) -> None:
        """One line of what the guest hands out, its end included."""
        if self._ended:
            return  # nothing follows a trailer
        text = line.decode("utf-8", "backslashreplace")
        if text.startswith(_SECTION):
            self._end_section()
            self._section, _, rest = text.removeprefix(_SECTION).strip().partition(" ")
            self._lines = [rest] if rest else []
            if self._section in ("uptime", "ended"):
                self._end_section()
        elif self._section == "trace":
            self._trace(text)
        else:
            self._lines.append(text.rstrip("\r\n"))

    def _trace(self, text: str) -> None:
        """A line of the ring. Events from before the guest's first look wait for that."""
        if text.rstrip().endswith(BEGIN):
            if self._early is not None:
                self._header(text)
            return
        event = self._ring.event(text)
        if event is None:
            return
        if event.kind == ev.MODULE:
            self._states.came.add(str(event.module))
        elif event.probe == "do_init_module" and event.result and event.detail:
            self._states.came.discard(str(event.detail.name))
        if self._early is None:
            self._writer.write([event])
        else:
            self._early.append(event)

    def _end_section(self) -> None:
        handler = getattr(self, f"_section_{self._section}", None)
        try:
            if handler is not None:
                handler(self._lines)
        except (ValueError, IndexError) as error:
            raise IncompleteError(
                f"what the guest handed out makes no sense: {self._section}: {error}",
                "--keep-console FILE keeps what its kernel said",
            ) from error
        self._section, self._lines = "", []

    # -- what stands in the sections

    def _section_refused(self, lines: list[str]) -> None:
        self._states.refuse(lines, self._arms.commands)

    def _section_kprobes(self, lines: list[str]) -> None:
        self._states.listed("\n".join(lines))

    def _section_modules(self, lines: list[str]) -> None:
        self._states.came.update(lines)

    def _section_sysfs(self, lines: list[str]) -> None:
        evidence = self._arms.kernel.evidence
        with self._scratch() as root:
            sysfs_text.rebuild(lines, root)
            if self._bus is None:
                self._bus = snapshot(root / "sys")
                self._forbidden = [asdict(rule) for rule in forbidden(evidence, root)]
                return
            end = final(evidence.modules, root / "sys", root / sysfs_text.DEBUGFS)
        self._trailer["final"] = end.to_json()
        self._addresses = {f.address for f in end.pci} | {d["address"] for d in end.devices}

    def _section_uptime(self, lines: list[str]) -> None:
        seconds = float(lines[0].split()[0])
        if not 0 <= seconds < _LATEST:
            raise ValueError(f"{seconds} seconds since boot")
        self._started = round(seconds * 1e9)

    def _section_profile(self, lines: list[str]) -> None:
        self._states.profile(lines)

    def _section_stats(self, lines: list[str]) -> None:
        found = (re.match(r"cpu[0-9]+ ([^:]+): ([0-9]{1,15})$", line) for line in lines)
        self._lost = sum(int(m[2]) for m in found if m and m[1] in _LOSSES)

    def _section_kmsg(self, lines: list[str]) -> None:
        found = list(kmsg.records(lines))
        for record in found:
            line = kmsg.parse(record)
            if line is not None:
                self._log.take(line)
        log = self._log.about(self._addresses)
        whole = kmsg.is_whole(found) and END.encode() in found[-1]
        self._trailer["log"] = replace(log, lost=log.lost or not whole).to_json()

    def _section_ended(self, lines: list[str]) -> None:
        if self._early is not None:
            raise ValueError("it never said that user space had begun")
        self._ended = True
        self._writer.trailer(
            {
                "lost": max(self._ring.lost, self._lost),
                "ended": "command",
                "command_status": int(lines[0]),
                "probes": [state.to_json() for state in self._probes()],
                **self._trailer,
            }
        )

    # -- the header

    def _header(self, marker: str) -> None:
        """MARKER is the line that the guest's script wrote into the ring: user space has begun."""
        kernel = self._arms.kernel
        early, self._early = self._early or [], None
        began = time_of(marker)
        self._states.late_ns = began
        self._writer.header(
            {
                "tool": f"virtio-trace {virtio_trace.__version__}",
                "collector": "ftrace",
                "kernel": {"release": kernel.release, "machine": kernel.machine},
                "clock": "CLOCK_MONOTONIC",
                "started_ns": self._started,
                "user_space_ns": began,
                "probes": [state.to_json() for state in self._probes()],
                "snapshot": self._bus or {"bus": False, "devices": [], "drivers": []},
                "snapshot_ns": began,
                "evidence": kernel.evidence.to_json(),
                "forbidden": self._forbidden,
                "command": ["/virtio-trace/drive"],
            }
        )
        self._writer.write(early)

    def _probes(self) -> list[ProbeState]:
        return self._states.states(self._ring.hits)


def time_of(line: str) -> int | None:
    """When a LINE of the ring was written, in nanoseconds; None where it is no such line."""
    found = LINE.fullmatch(line.strip())
    if found is None:
        return None
    return int(found["s"]) * 1_000_000_000 + int(found["us"]) * 1000
