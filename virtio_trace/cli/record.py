# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace record: arm the probes, and record until Ctrl-C or the end of a command."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import click

from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.cli.support import options
from virtio_trace.cli.support.follow import End, Follower
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.judged import Judged
from virtio_trace.cli.support.live import LiveLines
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.cli.support.prerequisites import require_tracing
from virtio_trace.cli.support.ready import Ready
from virtio_trace.cli.support.rebind import Rebinds
from virtio_trace.cli.support.say import say, warn
from virtio_trace.cli.support.status import StatusLine
from virtio_trace.errors import UsageError
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.recording.probe_state import ARMED, NOT_ARMED, WAITING, ProbeState
from virtio_trace.recording.writer import Writer
from virtio_trace.tracer.ftrace.boot_events import BootTime
from virtio_trace.tracer.ftrace.sweep import group_name, sweep
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents
from virtio_trace.tracer.session.live import REMOVING, LiveTracer
from virtio_trace.tracer.session.watcher import watched

_STATUS_INCOMPLETE = 4
_PHASES = {
    "what is known of this kernel": "reading this kernel",
    "the kernel's BTF and module files": "reading the kernel's files",
    "bpf: bytecode": "the BPF program",
}
"""Of the phases of arming (tracer/session/live.py), those that are shown by another name."""


_EXAMPLES = (
    Example("Record until Ctrl-C", "sudo virtio-trace record"),
    Example("Record what loading a driver does", "sudo virtio-trace record -- modprobe virtio_net"),
    Example(
        "Unbind a device, bind it again, and record that",
        "sudo virtio-trace record --rebind vdb",
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
    metavar="DEVICE",
    help="Unbind and bind this device after arming.",
)
@options.scope_options
@click.option("--force", is_flag=True, help="Rebind even a device that the machine needs.")
@click.option(
    "--ready-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Write a newline to descriptor N when armed.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not print events as they happen.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print all events, and how long each phase of arming took.",
)
@click.argument("arguments", metavar="[-- COMMAND ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    output: str | None,
    duration: float | None,
    addresses: tuple[str, ...],
    devices: tuple[str, ...],
    drivers: tuple[str, ...],
    force: bool,
    ready_fd: int | None,
    quiet: bool,
    verbose: bool,
    arguments: tuple[str, ...],
) -> int:
    """Record what this kernel does with its VirtIO devices.

    Stops on Ctrl-C, after --duration, or when COMMAND ends. Events are printed to standard error as
    they happen: those about VirtIO, with -v also the loads of other modules, their init functions,
    and matches that said no. All of them go to FILE, by default virtio-trace.vtr. An existing FILE
    is kept as FILE.old.

    --rebind unbinds DEVICE from its driver and binds it again, so that its initialisation is
    recorded. DEVICE is an address (0000:00:02.0), a name on the bus (virtio0), or a network
    interface or disk (ens10, vdb) of it. It may be repeated. COMMAND starts afterwards. Without
    COMMAND and --duration the recording ends when no more events come. A device that holds the root
    file system, swap, a mount, a console or the only network link is refused unless --force is
    given.

    --device and --driver limit what is shown and judged, but not what is recorded. With them, or
    with --rebind, the recording ends with a verdict on these devices alone, about what happened
    while it ran: check --no-boot-events gives the same.

    Once everything is armed, --ready-fd gets a newline, and systemd READY=1 (Type=notify).

    The exit status is COMMAND's own if that is not 0; else the verdict's, as with check; without a
    verdict, 4 if something was lost or could not be armed.
    """
    if arguments and shutil.which(arguments[0]) is None:
        raise UsageError(f"{arguments[0]}: no such command", "name one that can be run, after --")
    target = RecordingOutput(output)
    ready = Ready(ready_fd)
    rebinds = Rebinds(addresses, force)
    kernel = HostKernel()
    judged = Judged(devices or rebinds.addresses, drivers, limits=bool(devices or drivers))
    judged.check(kernel)
    mounts = require_tracing(kernel)
    for line in sweep(mounts.tracefs).kept:
        warn(f"left by a recorder that was killed: {line}")
    control = KprobeEvents(mounts.tracefs, group_name(os.getpid()))
    with (
        Interrupts() as interrupts,
        watched(control),
        StatusLine() as shown,
        LiveTracer(kernel, mounts, control, partial(_show, shown)) as tracer,
    ):
        shown.step("arming")
        session = tracer.arm()
        shown.step("")
        if verbose:
            _say_phases(tracer)
        interrupts.collect()
        judged.begin(session.header)
        writer = Writer(judged.copied(target))
        live = LiveLines(quiet, session.header.evidence, verbose, judged.shows)
        follower = Follower(session, writer, live, interrupts, rebinds)
        try:
            writer.header(replace(session.header, command=arguments))
            armed = _armed(session.header.probes)
            say(f"{armed}; Ctrl-C stops")
            ready.armed(armed)
            why = follower.follow(duration, arguments, target.is_stdout)
            ready.stopping()
            shown.step("stopping")
            end = follower.end(why)
            writer.trailer(end.trailer)
        finally:
            live.close()
            target.close()
        status = _conclude(end, writer.events, target, session.boot)
    if judged:
        status = judged.status(target)
    return end.own_status or status or (_STATUS_INCOMPLETE if rebinds.failed else 0)


def _show(shown: StatusLine, what: str) -> None:
    shown.step("stopping" if what == REMOVING else "arming", count=_PHASES.get(what, what))


def _armed(probes: Sequence[ProbeState]) -> str:
    """``armed: 52 probe points, 14 wait for their modules``."""
    count = Counter(state.state for state in probes)
    said = f"armed: {count[ARMED]} probe points, {count[WAITING]} wait for their modules"
    refused = count[NOT_ARMED]
    return f"{said}, {refused} could not be armed" if refused else said


def _say_phases(tracer: LiveTracer) -> None:
    for name, seconds in tracer.clock.seconds.items():
        say(f"{seconds:8.3f} s  {name}")


def _conclude(end: End, events: int, target: RecordingOutput, boot: BootTime | None) -> int:
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
