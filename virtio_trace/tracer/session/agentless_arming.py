# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest without an agent is told to trace: by its command line, then by its script."""

from __future__ import annotations

from dataclasses import dataclass

from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.ftrace.definitions import Definition, definitions
from virtio_trace.tracer.ftrace.tracefs import MAXACTIVE
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.virtio.transports import TRANSPORTS

GROUP = "vtl"
"""The group of the events that the guest's script defines; cmdline.GROUP has the others."""

LOG = "log_buf_len=2M"
"""The kernel's log is first read when user space begins, and must still have its start then:
initcall_debug alone writes more than the usual 128 KB."""


@dataclass(frozen=True, slots=True)
class GuestArming:
    """What a guest is to trace. ``line`` is armed at the kernel's start, ``late`` when user space
    begins, before the first module is loaded."""

    kernel: OfflineKernel
    line: BootLine
    late: tuple[Definition, ...]

    @property
    def parameters(self) -> str:
        """For the kernel's command line: the clock and the ring's size are always needed."""
        return f"{LOG} {self.line.text or cmdline.SWITCHES}"

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines for kprobe_events."""
        return tuple(one.command(GROUP, MAXACTIVE) for one in self.late)

    @property
    def enable(self) -> tuple[str, ...]:
        """The lines for set_event."""
        return (f"{GROUP}:*", "module:module_load")


def arming(kernel: OfflineKernel, room: int) -> GuestArming:
    """Put what is built in on the command line, in ROOM characters, most important first."""
    short = definitions(kernel.probes, kernel.offsets, kernel.machine, whole=False)
    early = cmdline.worth_arming(short, kernel.builtin, modules=False)
    if not any(each.inlines_setup_vq and each.module in kernel.builtin for each in TRANSPORTS):
        # Not needed before the module of such a transport is loaded.
        early = [one for one in early if one.point is not table.VRING_POINT]
    line = cmdline.boot_line(early, room - len(LOG) - 1)
    numbers = {one.number for one in line.armed}
    whole = definitions(kernel.probes, kernel.offsets, kernel.machine)
    return GuestArming(kernel, line, tuple(one for one in whole if one.number not in numbers))
