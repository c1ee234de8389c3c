# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots one kernel in QEMU with the recorder armed before its first module, to the guest's end."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Literal

from virtio_trace.errors import BadInputError, CannotTraceError, IncompleteError, UsageError
from virtio_trace.vm import arch
from virtio_trace.vm.arch import X86_64, Arch
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.programs import Progress, need, quiet, said
from virtio_trace.vm.qemu import accel, host_view, process
from virtio_trace.vm.qemu.channel import Channel, GuestShutdown, Tail
from virtio_trace.vm.root import agentless as agentless_root
from virtio_trace.vm.root import appliance, foreign_initrd, payload
from virtio_trace.vm.root.agentless import AgentlessSetup, LineSink
from virtio_trace.vm.root.cpio import append_file
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem
from virtio_trace.vm.root.until import StopReason

COLLECTORS = ("auto", "bpf", "ftrace")

End = Literal["done", "timeout", "died"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to boot, whatever the kernel is. ``timeout`` is in seconds from QEMU's start.

    ``run`` is shell text for the guest; ``options`` are QEMU's, in place of the default devices;
    ``console`` is the file in which the console is kept; ``collector`` is one of COLLECTORS.
    """

    append: str = ""
    timeout: float = 300.0
    accel: str = "auto"
    run: str | None = None
    options: tuple[str, ...] = ()
    console: Path | None = None
    collector: str = "auto"


@dataclass(frozen=True, slots=True)
class Plan:
    """One boot. ``modules`` is a …/lib/modules/RELEASE folder. ``plain``: what a guest with no
    agent traces, and who makes a recording of what it says. With ``foreign``, somebody else's
    initrd is booted, and a disk where it has one; ``modules`` is None where it is in neither."""

    vmlinuz: Path
    modules: Path | None
    settings: Settings = Settings()
    agentless: AgentlessSetup | None = None
    third_party: ThirdPartySystem | None = None

    def qemu_config(self, accelerator: str, initrd: int) -> process.QemuConfig:
        """QEMU's for an initrd of INITRD bytes. Raises UsageError: the command line is too long."""
        settings, foreign = self.settings, self.third_party
        memory, kernel = process.memory_for(initrd), arch.of_kernel(self.vmlinuz)
        if foreign is None:
            parameters = self.agentless.parameters if self.agentless else ""
            append = f"{parameters} {settings.append}".strip()
            return process.QemuConfig(
                self.vmlinuz, append, accelerator, settings.options, memory, kernel
            )
        return process.QemuConfig(
            self.vmlinuz,
            foreign_initrd.options(foreign, settings.append),
            accelerator,
            foreign.devices(settings.options),
            memory + foreign_initrd.MEMORY,
            kernel,
            first="",
        )


@dataclass(slots=True)
class Outcome:
    """How a boot ended.

    ``end``: ``done``, the recorder came to its end (``recorder`` is its exit status); ``timeout``;
    ``died``, the guest ended before its recorder did. ``said``: what the recorder said last, on its
    standard error. ``tail``: the console's last lines. ``seconds`` from QEMU's start to its end.
    ``cramped``: the kernel had no room for its root; it was ended, as modules would be missing.
    ``stop``: why the recording of a foreign system came to its end, and whether that was what it
    was to wait for.
    """

    accel: str
    argv: list[str]
    end: End = "died"
    recorder: int | None = None
    said: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    stderr: str = ""
    status: int | None = None
    seconds: float = 0.0
    spoke: bool = False
    cramped: bool = False
    stop: StopReason | None = None


def uses_agent(settings: Settings, machine: Arch) -> bool:
    """Whether the guest runs the eBPF recorder: on MACHINE, by default where it can.

    Raises UsageError where it was asked for and cannot.
    """
    if settings.collector == "bpf" and not machine.agent:
        raise UsageError(
            f"--collector bpf does not know machine {machine.name}", "use --collector ftrace"
        )
    return machine.agent and settings.collector != "ftrace"


def check_settings(settings: Settings, machine: Arch = X86_64) -> None:
    """Every check that needs no more of the kernel than its MACHINE, and nothing built or started.

    Raises UsageError, or CannotTraceError (not installed, or we run on another machine than x86).
    """
    if not X86_64.native:
        raise CannotTraceError(
            f"boot does not know machine {os.uname().machine}", f"it runs on {X86_64.name}"
        )
    if not 0 < settings.timeout < float("inf"):
        raise UsageError(f"--timeout must be more than 0 seconds, not {settings.timeout:g}")
    if settings.run is not None and "\0" in settings.run:
        raise UsageError("--run holds a zero byte")
    process.check_options(settings.options)
    process.cmdline(settings.append, machine)
    if (path := settings.console) is not None:
        there = path.is_file() or path.is_char_device() if path.exists() else path.parent.is_dir()
        if not there or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise UsageError(f"--keep-console {path}: cannot be written", "name another file")
    ours = ("mmdebstrap",) if uses_agent(settings, machine) else ()
    need([machine.program, "setpriv", "depmod", *ours, "apt-get"])
    accel.candidates(settings.accel, machine)


def check(plan: Plan) -> Plan:
    """The plan with its paths resolved, its settings and its kernel's files checked.

    Raises what :func:`check_settings` raises, and BadInputError (a file is not what it should be).
    """
    kernel = arch.of_kernel(plan.vmlinuz)
    check_settings(plan.settings, kernel)
    if plan.third_party is not None and not uses_agent(plan.settings, kernel):
        raise UsageError(
            "--image and --initrd take the eBPF recorder along: not --collector ftrace, nor a "
            f"kernel of {kernel.name} yet",
            "give its kernel as --kernel VMLINUZ with --modules DIR",
        )
    modules = payload.check_modules(plan.modules) if plan.modules is not None else None
    plan = replace(plan, vmlinuz=plan.vmlinuz.absolute(), modules=modules)
    for initrd in plan.third_party.initrds if plan.third_party else ():
        foreign_initrd.check_initrd(initrd)
    plan.qemu_config("tcg", 0).cmdline  # noqa: B018 it may be too long
    return plan


def boot(
    plan: Plan,
    on_line: Callable[[bytes], None],
    progress: Progress = quiet,
    say: Callable[[str], None] = lambda _line: None,
    on_pause: Callable[[], None] = lambda: None,
) -> Outcome:
    """Boots PLAN and hands each whole line of the recording to ON_LINE as it comes, \\n included.

    What comes after the last line's end, when a guest died in mid-line, is handed over too, so that
    nothing is lost. SAY gets sentences for the user: the command line of QEMU, a fall-back to TCG.
    ON_PAUSE is called a few times a second, whether something came or not. An exception of ON_LINE
    ends QEMU and goes through, as KeyboardInterrupt does.

    Raises what :func:`check` raises; UsageError when QEMU refuses its options; CannotTraceError
    when the appliance cannot be built or QEMU cannot be started.
    """
    plan = check(plan)
    kernel = arch.of_kernel(plan.vmlinuz)
    if plan.agentless is None:
        root = appliance.appliance(progress)
    else:
        root = agentless_root.busybox(kernel, progress)
    with contextlib.ExitStack() as stack:
        keep = stack.enter_context(_console(plan.settings.console))
        initrd = stack.enter_context(_initrd(root, plan))
        size = os.fstat(initrd.fileno()).st_size
        tries = accel.candidates(plan.settings.accel, kernel)
        for name in tries:
            machine = plan.qemu_config(name, size)
            silence = accel.SILENCE if len(tries) > 1 and name == "kvm" else None
            outcome = _attempt(
                machine,
                initrd.fileno(),
                plan,
                on_line=on_line,
                assemble=plan.agentless.assemble if plan.agentless else lambda sink: sink,
                on_pause=on_pause,
                keep=keep,
                silence=silence,
                say=say,
            )
            if outcome.spoke or name == tries[-1]:
                break
            why = said(outcome.stderr) or f"no word from the guest in {accel.SILENCE:g} s"
            say(f"KVM does not work here ({why}): using TCG, which is slower")
        if len(tries) > 1 and outcome.spoke and outcome.accel == "tcg":
            accel.remember("tcg")
    if outcome.cramped:
        raise _too_small("its kernel cannot unpack its root", machine.memory)
    if not outcome.spoke and outcome.stderr and outcome.status not in (0, None):
        raise _refused(outcome, plan, machine.memory)
    return outcome


def _attempt(
    machine: process.QemuConfig,
    initrd: int,
    plan: Plan,
    *,
    on_line: LineSink,
    assemble: Callable[[LineSink], LineSink],
    on_pause: Callable[[], None],
    keep: BinaryIO | None,
    silence: float | None,
    say: Callable[[str], None],
) -> Outcome:
    """One QEMU from start to end. SILENCE: seconds of no output at all after which it is ended."""
    began = time.monotonic()
    timeout = plan.settings.timeout
    console = Tail(plan.third_party.until.text if plan.third_party else "")
    end = GuestShutdown(plan.third_party is not None, began + timeout)
    stderr = b""
    with process.Run(machine, initrd) as run:
        channel = Channel(
            assemble(lambda line: on_line(host_view.with_host(line, run.monitor, say)))
        )
        outcome = Outcome(machine.accel, run.argv)
        say(f"qemu: {shlex.join(run.argv)}")
        for source, data in run.read(end.deadline):
            if source == "events":
                waits = channel.status is None
                channel.feed(data)
                if waits and channel.status is not None:
                    run.release()
            elif source == "console":
                outcome.spoke = True
                console.feed(data)
                if keep:
                    _keep(keep, data)
            elif source == "stderr":
                stderr = (stderr + data)[-65536:]
            elif not source:
                on_pause()
            if console.cramped or end.reached(run, channel, console):
                break
            if silence and not outcome.spoke and time.monotonic() - began > silence:
                break
        else:
            ran_out = time.monotonic() - began >= timeout
            outcome.end = "timeout" if ran_out else "died"
        run.stop()
        outcome.status = run.status
    channel.close()
    if end.too_late:
        outcome.end = "timeout"
    elif channel.status is not None:
        outcome.end = "done"
    outcome.recorder, outcome.said, outcome.stop = channel.status, channel.said, channel.stop
    outcome.tail, outcome.cramped = console.lines(), console.cramped
    outcome.stderr = stderr.decode(errors="replace")
    outcome.seconds = time.monotonic() - began
    return outcome


@contextlib.contextmanager
def _console(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(f"--keep-console {path}: {error.strerror}") from error
    with file:
        yield file


def _keep(file: BinaryIO, data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        raise IncompleteError(
            f"the console cannot be kept: {error.strerror}",
            "give it a place with room: --keep-console FILE",
        ) from error


@contextlib.contextmanager
def _initrd(root: Path, plan: Plan) -> Iterator[BinaryIO]:
    """ROOT (the appliance, or a busybox) and this boot's own part as one file, which has no name:
    no death leaves it."""
    with contextlib.ExitStack() as stack:
        try:
            whole = stack.enter_context(tempfile.TemporaryFile(dir=cache.root()))
            if plan.third_party is not None:
                foreign_initrd.write(
                    whole, root, plan.third_party, plan.modules, plan.settings.append
                )
            elif plan.agentless is not None:
                assert plan.modules is not None
                kernel, run = arch.of_kernel(plan.vmlinuz), plan.settings.run
                agentless_root.write(
                    whole, root, plan.modules, plan.agentless, machine=kernel, task=run
                )
            else:
                assert plan.modules is not None
                append_file(whole, root)
                payload.write(whole, plan.modules, plan.settings.run)
            whole.flush()
        except OSError as error:
            raise cache.cannot("cannot write the guest's root", cache.root(), error) from error
        yield whole  # what fails from here on is not about this file


def _too_small(reason: str, memory: int) -> UsageError:
    return UsageError(f"the guest has too little memory: {reason}", f"give it -m {memory}, or more")


def _refused(outcome: Outcome, plan: Plan, memory: int) -> Exception:
    """QEMU ended with a complaint before the guest said anything."""
    reason = said(outcome.stderr)
    if "initrd is too large" in reason:
        return _too_small(reason, memory)
    if "could not load kernel" in reason or "kernel header" in reason:
        return BadInputError(f"QEMU does not start {plan.vmlinuz}: {reason}", "is it a vmlinuz?")
    if plan.settings.options:
        return UsageError(f"QEMU refused its options: {reason}", "see the options after --")
    return CannotTraceError(f"QEMU does not start: {reason}", "-v shows its command line")
