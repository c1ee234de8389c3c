# SPDX-License-Identifier: GPL-2.0-or-later
"""Records until something ends it: Ctrl-C, a time, COMMAND, or the end of a rebinding."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.live import LiveLines
from virtio_trace.cli.support.rebind import Rebinds
from virtio_trace.errors import UsageError
from virtio_trace.recording.probe_state import ProbeState
from virtio_trace.recording.trailer import Trailer
from virtio_trace.recording.writer import Writer
from virtio_trace.tracer.session.armed import Aftermath, ArmedTracer

_POLL_MS = 100
_GRACE_SECONDS = 3.0
_OF_A_SIGNAL = 128
_ENDING = tuple(_OF_A_SIGNAL + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


@dataclass(frozen=True, slots=True)
class End:
    """How a recording ended, for its trailer and for the last lines that are printed."""

    why: str
    command_status: int | None
    lost: int
    states: list[ProbeState]
    aftermath: Aftermath
    rebinds: list[dict[str, Any]]

    @property
    def trailer(self) -> Trailer:
        """The trailer; the writer counts its events."""
        return Trailer(
            events=0,
            lost=self.lost,
            ended=self.why,
            probes=tuple(self.states),
            command_status=self.command_status,
            end_state=self.aftermath.end_state,
            end_state_ns=self.aftermath.end_state_ns,
            log=self.aftermath.log,
            blacklist=self.aftermath.blacklist,
            ended_ns=time.monotonic_ns(),
            rebinds=tuple(self.rebinds),
        )

    @property
    def own_status(self) -> int:
        """COMMAND's own status; 0 without one, or if we or Ctrl-C ended it."""
        ended_by_us = self.why != "command" and self.command_status in _ENDING
        return 0 if ended_by_us else self.command_status or 0


class Follower:
    """Moves events from the session to the file and the terminal until something ends it."""

    def __init__(
        self,
        session: ArmedTracer,
        writer: Writer,
        live: LiveLines,
        interrupts: Interrupts,
        rebinds: Rebinds,
    ) -> None:
        self._rebinds = rebinds
        self._session = session
        self._writer = writer
        self._live = live
        self._interrupts = interrupts
        self._status: int | None = None

    def follow(self, duration: float | None, arguments: Sequence[str], quiet_stdout: bool) -> str:
        """Record until something ends it; return its name: interrupt, command, duration, rebind."""
        deadline = None if duration is None else time.monotonic() + duration
        self._rebinds.run(self._wait, self._interrupted)
        go = arguments and not self._interrupted()
        process = self._start(arguments, quiet_stdout) if go else None
        try:
            return self._until(deadline, process)
        finally:
            self._status = None if process is None else self._finish(process)

    def end(self, why: str) -> End:
        """Record everything that was caused until now, and what became of it."""
        aftermath = self._session.aftermath()  # first, so that the events that led to it follow
        while self._take(0):
            pass
        lost, states = self._session.lost(), self._session.states()
        return End(why, self._status, lost, states, aftermath, self._rebinds.outcomes)

    def _wait(self) -> int:
        return self._take(_POLL_MS)

    def _interrupted(self) -> bool:
        return self._interrupts.received is not None

    def _until(self, deadline: float | None, process: subprocess.Popen[bytes] | None) -> str:
        if self._rebinds and deadline is None and process is None:
            self._rebinds.settle(self._wait, self._interrupted)
            return "interrupt" if self._interrupted() else "rebind"
        while True:
            self._take(_POLL_MS)
            if self._interrupts.received is not None:
                return "interrupt"
            if process is not None and process.poll() is not None:
                return "command"
            if deadline is not None and time.monotonic() >= deadline:
                return "duration"

    def _take(self, milliseconds: int) -> int:
        events = self._session.poll(milliseconds)
        self._writer.write(events)
        self._live.show(events)
        return len(events)

    def _start(self, arguments: Sequence[str], quiet_stdout: bool) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(arguments, stdout=sys.stderr if quiet_stdout else None)
        except OSError as error:
            raise UsageError(
                f"{arguments[0]}: {error.strerror}", "name a command that can be run, after --"
            ) from error

    def _finish(self, process: subprocess.Popen[bytes]) -> int | None:
        """COMMAND's exit status as a shell reports it. COMMAND is terminated if it still runs."""
        if process.poll() is None:
            process.terminate()
            deadline = time.monotonic() + _GRACE_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                self._take(_POLL_MS)
        status = process.returncode
        return _OF_A_SIGNAL - status if status is not None and status < 0 else status
