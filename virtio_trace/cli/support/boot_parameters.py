# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel parameters that record built-in VirtIO code from early boot on."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from virtio_trace.cli.support.say import warn
from virtio_trace.errors import VirtioTraceError
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.cmdline import BootLine
from virtio_trace.tracer.ftrace.definitions import definitions
from virtio_trace.tracer.points import offline
from virtio_trace.vm.plan import Plan

_TAKEN = re.compile(r"(?:^|\s)kprobe_event=")


def with_boot_events(plan: Plan) -> Plan:
    """PLAN with the parameters for its kernel, where some of VirtIO is built into it. Where that
    cannot be done it is said, and the boot is recorded from its first module on."""
    line = plan.qemu_config("tcg", 0).cmdline
    if is_taken(line):
        return plan
    if plan.modules is None:
        warn("no boot-time events, built-in code is not recorded: give its --modules DIR")
        return plan
    try:
        if "virtio" not in ModuleTree(plan.modules).builtin:
            return plan
        kernel = offline.read(plan.vmlinuz, plan.modules)
    except VirtioTraceError as error:
        warn(f"no boot-time events, built-in code is not recorded: {error}")
        return plan
    found = for_kernel(kernel, plan.arch.command_line - len(line.encode()) - 1, modules=False)
    say_left(found)
    append = f"{plan.settings.append} {found.text}".strip()
    return replace(plan, settings=replace(plan.settings, append=append))


def is_taken(line: str) -> bool:
    """Whether the command LINE has kprobe_event=, which not every kernel accepts twice. Warns."""
    taken = _TAKEN.search(line) is not None
    if taken:
        warn("kprobe_event= in its options: no boot-time events, built-in code is not recorded")
    return taken


def for_kernel(
    kernel: offline.OfflineKernel,
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
