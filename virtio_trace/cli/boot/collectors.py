# SPDX-License-Identifier: GPL-2.0-or-later
"""How a boot's guest is recorded: by a recorder in it, or from its trace ring, without an agent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from virtio_trace.cli.boot import executor
from virtio_trace.cli.support.boot_parameters import boot_line, is_taken, say_left
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.tracer.bpf.compile import bytecode
from virtio_trace.tracer.points import offline, table
from virtio_trace.tracer.session import agentless, agentless_arming
from virtio_trace.vm import arch
from virtio_trace.vm.host import cache
from virtio_trace.vm.plan import Plan, check, uses_agent
from virtio_trace.vm.qemu import process
from virtio_trace.vm.root.agentless import AgentlessSetup, LineSink


@contextlib.contextmanager
def collecting(plan: Plan, *, boot_events: bool) -> Iterator[Plan]:
    """PLAN with what its collector needs. With BOOT_EVENTS, the kernel records what is built in.

    Raises what plan.check raises, and CannotTraceError if the kernel's files lack information.
    """
    plan = check(plan)
    if uses_agent(plan.settings, plan.arch):
        with _unpacked(plan.vmlinuz) as image:
            yield replace(_with_executor(plan, boot_events=boot_events), vmlinuz=image)
        return
    assert plan.modules is not None  # plan.check: only a third-party system may have none
    kernel = offline.read(plan.vmlinuz, plan.modules, [table.VRING_POINT])
    room = process.room(plan.arch) - len(plan.settings.append.encode()) - 1
    if not boot_events or is_taken(plan.settings.append):
        room = 0
    arms = agentless_arming.arming(kernel, room)
    if room:
        say_left(arms.line)

    def assemble(sink: LineSink) -> LineSink:
        return agentless.Guest(arms, sink, lambda: cache.scratch("guest")).consume

    setup = AgentlessSetup(
        arms.parameters, assemble, arms.commands, arms.enable, compression.unpacked
    )
    with _unpacked(plan.vmlinuz) as image:
        yield replace(plan, vmlinuz=image, agentless=setup)


def _with_executor(plan: Plan, *, boot_events: bool) -> Plan:
    """PLAN with an executor for its kernel; and, with BOOT_EVENTS, its boot-time events.

    Raises CannotTraceError, BadInputError: there can be no plan for this kernel.
    """
    if plan.modules is None:
        raise _no_modules(plan)
    kernel = offline.read(plan.vmlinuz, plan.modules)
    line = boot_line(plan, kernel) if boot_events else None
    if line is not None and line.text:
        append = f"{plan.settings.append} {line.text}".strip()
        plan = replace(plan, settings=replace(plan.settings, append=append))
    code = bytecode(kernel.machine, cookie=kernel.cookies)
    return replace(plan, executor=executor.setup(kernel, code, line, plan.third_party))


def _no_modules(plan: Plan) -> BadInputError:
    if plan.third_party is not None and plan.third_party.disk is not None:
        return BadInputError(
            "the image has no modules of the kernel that it boots, so there is nothing to plan by",
            "give its kernel, initrd and modules: --kernel VMLINUZ --initrd FILE --modules DIR",
        )
    return BadInputError(
        f"the modules of {plan.vmlinuz} are not known: its initrd has none",
        "give its lib/modules/RELEASE as --modules DIR",
    )


@contextlib.contextmanager
def _unpacked(image: Path) -> Iterator[Path]:
    """IMAGE as QEMU starts it. A compressed one is unpacked to memory, under a name in /proc."""
    if not arch.is_packed(image):
        yield image
        return
    data = vmlinuz.payload(compression.read_file(image), str(image))
    with open(os.memfd_create("kernel"), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        unpacked = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        if arch.is_packed(unpacked) or not arch.of_kernel(unpacked).image_flat:
            raise BadInputError(
                f"{image} has no flat kernel image", "give the vmlinuz of a package"
            )
        yield unpacked
