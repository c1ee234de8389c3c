# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest with an executor gets: the plan for its kernel, and who makes its recording."""

from __future__ import annotations

from collections.abc import Callable

from virtio_trace.kernel.files import compression
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.bpf.bytecode import Bytecode
from virtio_trace.tracer.bpf.offsets import offsets_of
from virtio_trace.tracer.executor import plan as plan_file
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.plan.make import NONE, BootTimeEvents, KernelIdentity, make
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.session.guest_recording import GuestRecording, GuestTask
from virtio_trace.vm.host import cache
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem
from virtio_trace.vm.root.recorder import ExecutorSetup, FrameSink, LineSink
from virtio_trace.vm.root.until import Look

_GROUP = "vtx"
"""The group of the events that the executor defines; short, as every definition repeats it."""


def setup(
    kernel: OfflineKernel,
    code: Bytecode,
    line: BootLine | None,
    third_party: ThirdPartySystem | None,
) -> ExecutorSetup:
    """For KERNEL, with the programs CODE; LINE: what its command line makes it record."""
    identity = KernelIdentity(kernel.release, kernel.build_id, kernel.machine)
    offsets = offsets_of(kernel.offsets, kernel.module_load_name)
    boot = _boot_events(line) if line is not None and line.text else NONE
    files = _files(kernel.evidence) if third_party is not None else []
    plan = make(identity, kernel.probes, offsets, code, group=_GROUP, boot=boot, files=files)
    command: tuple[str, ...] = ("/virtio-trace/drive",)
    if third_party is not None:
        command = ("until", *third_party.until.words.split())
    only = third_party is not None and third_party.only_initrd
    task = GuestTask(kernel, plan, command, third_party is not None, code.origin, only)

    def assemble(sink: LineSink) -> FrameSink:
        return _Sink(task, sink)

    return ExecutorSetup(plan_file.encode(plan), assemble, compression.unpacked)


def _files(evidence: Evidence) -> list[str]:
    """The module files with a driver or a transport."""
    names = [driver.file for driver in evidence.drivers]
    names += [transport.file for transport in evidence.transports]
    return [name for name in names if ".ko" in name]


def _boot_events(line: BootLine) -> BootTimeEvents:
    return BootTimeEvents(
        cmdline.GROUP, {(one.number, one.returns): one.name for one in line.armed}
    )


class _Sink(GuestRecording):
    """A recording whose guest is also looked at."""

    def __init__(self, task: GuestTask, write: Callable[[bytes], None]) -> None:
        super().__init__(task, write, lambda: cache.scratch("guest"))

    def looks(self) -> list[Look]:
        """What was seen of the guest since the last call, in order."""
        seen, self.glances = self.glances, []
        return [Look(one.idle, one.in_initrd, one.activity, one.system) for one in seen]
