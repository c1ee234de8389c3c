# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel parameters that record built-in VirtIO code from early boot on."""

from __future__ import annotations

import re
from collections.abc import Collection

from virtio_trace.cli.support.say import warn
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.ftrace.definitions import definitions
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.vm.plan import Plan

_TAKEN = re.compile(r"(?:^|\s)kprobe_event=")


def boot_line(plan: Plan, kernel: OfflineKernel) -> BootLine | None:
    """The parameters for KERNEL, PLAN's, where some of VirtIO is built into it; None: none are
    needed, or the command line has others already, which is said."""
    line = plan.qemu_config("tcg", 0).cmdline
    if is_taken(line) or "virtio" not in kernel.builtin:
        return None
    found = for_kernel(kernel, plan.arch.command_line - len(line.encode()) - 1, modules=False)
    say_left(found)
    return found


def is_taken(line: str) -> bool:
    """Whether the command LINE has kprobe_event=, which not every kernel accepts twice. Warns."""
    taken = _TAKEN.search(line) is not None
    if taken:
        warn("kprobe_event= in its options: no boot-time events, built-in code is not recorded")
    return taken


def for_kernel(
    kernel: OfflineKernel,
    room: int,
    *,
    modules: bool,
    prefer: Collection[str] = cmdline.COMMON,
) -> BootLine:
    """The parameters for KERNEL in ROOM characters; MODULES: for its modules, too; of those that
    are drivers the ones that are named in PREFER first."""
    every = definitions(kernel.probes, kernel.offsets, kernel.machine, whole=False)
    worth = cmdline.worth_arming(every, kernel.builtin, modules=modules)
    return cmdline.boot_line(worth, room, prefer)


def say_left(line: BootLine) -> None:
    """Warn of what there was no room for."""
    left = dict.fromkeys(one.point.without for one in line.left)
    if not line.text:
        warn("no room on the kernel's command line: built-in code is not recorded")
    elif left:
        warn(f"no room on the kernel's command line; not recorded of its boot: {'; '.join(left)}")
