# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace record: arm the probes, and record until Ctrl-C or the end of a command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.live import LiveLines
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.cli.support.prerequisites import require_tracing
from virtio_trace.cli.support.rebind import Rebinds
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import UsageError
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.recording.probe_state import NOT_ARMED, ProbeState
from virtio_trace.recording.trailer import Trailer
from virtio_trace.recording.writer import Writer
from virtio_trace.tracer.ftrace.boot_events import BootTime
from virtio_trace.tracer.ftrace.sweep import group_name, sweep
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents
from virtio_trace.tracer.session.armed import Aftermath, ArmedTracer
from virtio_trace.tracer.session.live import LiveTracer
from virtio_trace.tracer.session.watcher import watched

_POLL_MS = 100
_STATUS_INCOMPLETE = 4
_GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _End:
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


_EXAMPLES = (
    Example("Record until Ctrl-C", "sudo virtio-trace record"),
    Example("Record what loading a driver does", "sudo virtio-trace record -- modprobe virtio_net"),
    Example(
        "Unbind a device, bind it again, and record that",
        "sudo virtio-trace record --rebind 0000:00:05.0",
    ),
)


# Options after COMMAND's name belong to COMMAND, with or without --.
@click.command(
    cls=Command,
    examples=_EXAMPLES,
    context_settings={"allow_interspersed_args": False},
)
@click.option("-o", "--output", metavar="FILE", help="The recording; - is standard output.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Stop after S seconds.",
)
@click.option(
    "--rebind",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="Unbind and bind this device after arming.",
)
@click.option("--force", is_flag=True, help="Rebind even a device that the machine needs.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print events as they happen.")
@click.option("-v", "--verbose", is_flag=True, help="Show how long each phase of arming took.")
@click.argument("arguments", metavar="[-- COMMAND ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    output: str | None,
    duration: float | None,
    addresses: tuple[str, ...],
    force: bool,
    quiet: bool,
    verbose: bool,
    arguments: tuple[str, ...],
) -> int:
    """Record what this kernel does with its VirtIO devices.

    Stops on Ctrl-C, after --duration, or when COMMAND ends. Events are printed to standard error as
    they happen; the recording goes to FILE, by default virtio-trace.vtr. An existing FILE is kept
    as FILE.old.

    --rebind unbinds the device at ADDRESS (0000:00:02.0, or virtio0) from its driver and binds it
    again, so that its initialisation is recorded; it may be repeated. COMMAND starts afterwards.
    Without COMMAND and --duration the recording ends when no more events come. A device that holds
    the root file system, swap, a mount, a console or the only network link is refused unless
    --force is given.
    """
    if arguments and shutil.which(arguments[0]) is None:
        raise UsageError(f"{arguments[0]}: no such command", "name one that can be run, after --")
    target = RecordingOutput(output)
    rebinds = Rebinds(addresses, force)
    kernel = HostKernel()
    mounts = require_tracing(kernel)
    for line in sweep(mounts.tracefs).kept:
        warn(f"left by a recorder that was killed: {line}")
    control = KprobeEvents(mounts.tracefs, group_name(os.getpid()))
    with (
        Interrupts() as interrupts,
        watched(control),
        LiveTracer(kernel, mounts, control) as tracer,
    ):
        session = tracer.arm()
        if verbose:
            _say_phases(tracer)
        interrupts.collect()
        writer = Writer(target.open())
        live = LiveLines(quiet)
        follower = _Follower(session, writer, live, interrupts, rebinds)
        try:
            writer.header(replace(session.header, command=arguments))
            end = follower.follow(duration, arguments, target.is_stdout)
            writer.trailer(end.trailer)
        finally:
            live.close()
            target.close()
    status = _conclude(end, writer.events, target, session.boot)
    return _STATUS_INCOMPLETE if rebinds.failed else status


class _Follower:
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

    def follow(self, duration: float | None, arguments: Sequence[str], quiet_stdout: bool) -> _End:
        """Record to the end, including everything that COMMAND caused."""
        deadline = None if duration is None else time.monotonic() + duration
        self._rebinds.run(self._wait, self._interrupted)
        go = arguments and not self._interrupted()
        process = self._start(arguments, quiet_stdout) if go else None
        try:
            why = self._until(deadline, process)
        finally:
            status = None if process is None else self._finish(process)
        aftermath = self._session.aftermath()  # first, so that the events that led to it follow
        while self._take(0):
            pass
        lost, states = self._session.lost(), self._session.states()
        return _End(why, status, lost, states, aftermath, self._rebinds.outcomes)

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
        return 128 - status if status is not None and status < 0 else status


def _say_phases(tracer: LiveTracer) -> None:
    for name, seconds in tracer.clock.seconds.items():
        say(f"{seconds:8.3f} s  {name}")


def _conclude(end: _End, events: int, target: RecordingOutput, boot: BootTime | None) -> int:
    """Print the last lines and return the exit status: 4 if something was not recorded."""
    say(f"{events} events in {target.name}, {end.lost} lost")
    blind = boot is not None and _blind_at_boot(boot)
    unseen = [state for state in end.states if state.state == NOT_ARMED]
    for state in unseen:
        warn(f"not armed: {state.function}: {state.reason}; {state.without} is not seen")
    missed = sum(state.missed for state in end.states)
    if missed:
        warn(f"the kernel missed {missed} hits")
    if end.command_status:
        warn(f"the command ended with status {end.command_status}")
    return _STATUS_INCOMPLETE if end.lost or unseen or missed or blind else 0


def _blind_at_boot(boot: BootTime) -> bool:
    """Print what is recorded of the boot; return whether the checker needs more than that."""
    say(f"{len(boot.events)} of them are from the boot, recorded by the kernel itself")
    if boot.reason:
        warn(f"not seen {boot.reason}")
        return True
    if boot.foreign:
        warn(f"{boot.foreign} definitions on the kernel's command line do not fit this kernel")
    unseen = [state for state in boot.states if state.state == NOT_ARMED]
    if unseen:
        names = "; ".join(dict.fromkeys(state.without for state in unseen))
        warn(f"not seen of the boot: {names}")
    return any(state.probe in NEEDED for state in unseen)
