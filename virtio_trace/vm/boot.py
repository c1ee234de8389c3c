# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots one kernel in QEMU, with the recorder armed before its first module, until it ends."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import IncompleteError, UsageError
from virtio_trace.vm.host.programs import Progress, error_line, quiet
from virtio_trace.vm.outcome import Outcome, refused, too_small
from virtio_trace.vm.plan import Plan, check
from virtio_trace.vm.qemu import accel, host_view, process
from virtio_trace.vm.qemu.channel import Channel, ConsoleTail, GuestShutdown
from virtio_trace.vm.qemu.executor_channel import ExecutorChannel
from virtio_trace.vm.root.agentless import LineSink
from virtio_trace.vm.root.initrd import initrd

_STDERR_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of a boot while it runs.

    ``on_line`` gets each whole line of the recording, its newline included; a line that was cut
    short by the guest's death comes last. ``say`` gets sentences for the user, and QEMU's command
    line. ``on_pause`` is called a few times a second. An exception of any ends QEMU and propagates.
    """

    on_line: LineSink
    say: Callable[[str], None] = lambda _line: None
    on_pause: Callable[[], None] = lambda: None


def boot(plan: Plan, listener: Listener, progress: Progress = quiet) -> Outcome:
    """Boots PLAN, reporting to LISTENER as it goes.

    Raises what :func:`plan.check` raises; UsageError when QEMU refuses its options;
    CannotTraceError when the appliance cannot be built or QEMU cannot be started.
    """
    plan = check(plan)
    with _console(plan.settings.console) as keep, initrd(plan, progress) as whole:
        size = os.fstat(whole.fileno()).st_size
        tries = accel.candidates(plan.settings.accel, plan.arch)
        for name in tries:
            config = plan.qemu_config(name, size)
            silence = accel.SILENCE if len(tries) > 1 and name == "kvm" else None
            outcome = _Attempt(config, plan, listener, keep, silence).run(whole.fileno())
            if outcome.spoke or name == tries[-1]:
                break
            why = error_line(outcome.stderr) or f"no output from the guest in {accel.SILENCE:g} s"
            listener.say(f"KVM does not work here ({why}): using TCG, which is slower")
        if len(tries) > 1 and outcome.spoke and outcome.accel == "tcg":
            accel.remember("tcg")
    if outcome.root_too_big:
        raise too_small("its kernel cannot unpack its root", config.memory)
    if not outcome.spoke and outcome.stderr and outcome.qemu_failed:
        raise refused(outcome, plan, config.memory)
    return outcome


class _Attempt:
    """One QEMU from start to end. SILENCE: end it after so many seconds without any output."""

    def __init__(
        self,
        config: process.QemuConfig,
        plan: Plan,
        listener: Listener,
        keep: BinaryIO | None,
        silence: float | None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._listener = listener
        self._keep = keep
        self._silence = silence
        self._began = time.monotonic()
        until = plan.third_party.until if plan.third_party else None
        self._console = ConsoleTail(until.text if until else "")
        self._shutdown = GuestShutdown(until, self._began + plan.settings.timeout)
        self._stderr = b""
        self._spoke = False
        self._complete = False
        """Whether the recording's trailer was handed on."""

    def run(self, initrd_fd: int) -> Outcome:
        """Runs QEMU; the initrd is the file that INITRD_FD has open."""
        with process.Run(self._config, initrd_fd) as qemu:
            channel = self._channel(qemu)
            outcome = Outcome(self._config.accel, qemu.argv)
            self._listener.say(f"qemu: {shlex.join(qemu.argv)}")
            if self._listen(qemu, channel):
                ran_out = time.monotonic() - self._began >= self._plan.settings.timeout
                outcome.end = "timeout" if ran_out else "died"
                if not ran_out:
                    qemu.wait()
            outcome.status = qemu.status
            qemu.stop()
        channel.close()
        outcome.stderr = self._stderr.decode(errors="replace")
        if self._shutdown.too_late:
            outcome.end = "timeout"
        elif channel.status is not None or (self._complete and outcome.qemu_failed):
            outcome.end = "done"
        outcome.recorder, outcome.said = channel.status, channel.said
        outcome.stop = self._shutdown.reason(self._console)
        outcome.tail, outcome.causes = self._console.lines(), self._console.causes()
        outcome.root_too_big = self._console.root_too_big
        outcome.spoke, outcome.dropped = self._spoke, channel.dropped
        outcome.damaged = channel.lost - channel.dropped
        outcome.seconds = time.monotonic() - self._began
        return outcome

    def _channel(self, qemu: process.Run) -> Channel | ExecutorChannel:
        """The guest's channel: its lines, then a recording's lines, then the trailer's host."""

        def finish(line: bytes) -> None:
            if host_view.is_trailer(line):
                line = host_view.with_host(line, qemu.monitor, self._listener.say, channel.lost)
                self._listener.on_line(line)
                self._complete = True
            else:
                self._listener.on_line(line)

        channel: Channel | ExecutorChannel
        if self._plan.executor is not None:
            channel = ExecutorChannel(self._plan.executor.assemble(finish))
        else:
            assert self._plan.agentless is not None
            channel = Channel(self._plan.agentless.assemble(finish))
        return channel

    def _listen(self, qemu: process.Run, channel: Channel | ExecutorChannel) -> bool:
        """Reads all that QEMU and its guest send. Returns False if we end QEMU early."""
        for source, data in qemu.read(self._shutdown.deadline):
            if source == "events":
                waits = channel.status is None
                channel.feed(data)
                if waits and channel.status is not None:
                    qemu.release()
            elif source == "console":
                self._spoke = True
                self._console.feed(data)
                if self._keep:
                    _keep(self._keep, data)
            elif source == "stderr":
                self._stderr = (self._stderr + data)[-_STDERR_BYTES:]
            elif not source:
                self._listener.on_pause()
            if self._console.root_too_big or self._shutdown.reached(qemu, channel, self._console):
                return False
            silent = time.monotonic() - self._began
            if self._silence and not self._spoke and silent > self._silence:
                return False
        return True


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
            "name a file on a disk with space: --keep-console FILE",
        ) from error
