# SPDX-License-Identifier: GPL-2.0-or-later
"""How a boot's guest is recorded: by the recorder in it, or from its trace ring, with no agent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from virtio_trace.cli.support.boot_parameters import is_taken, say_left, with_boot_events
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.tracer.points import offline, table
from virtio_trace.tracer.session import agentless
from virtio_trace.vm import arch, boot
from virtio_trace.vm.host import cache
from virtio_trace.vm.qemu import process
from virtio_trace.vm.root.agentless import AgentlessSetup, LineSink


@contextlib.contextmanager
def collecting(plan: boot.Plan, *, boot_events: bool) -> Iterator[boot.Plan]:
    """PLAN with what its collector needs. BOOT_EVENTS: what is built in goes on the command line.

    Raises what boot.check raises, CannotTraceError where the kernel's files do not tell enough.
    """
    plan = boot.check(plan)
    kind = arch.of_kernel(plan.vmlinuz)
    if boot.uses_agent(plan.settings, kind):
        yield with_boot_events(plan) if boot_events else plan
        return
    assert plan.modules is not None  # boot.check: only a foreign system may have none
    kernel = offline.read(plan.vmlinuz, plan.modules, [table.RING])
    room = process.room(kind) - len(plan.settings.append.encode()) - 1
    if not boot_events or is_taken(plan.settings.append):
        room = 0
    arms = agentless.arming(kernel, room)
    if room:
        say_left(arms.line)

    def assemble(sink: LineSink) -> LineSink:
        return agentless.Guest(arms, sink, lambda: cache.scratch("guest")).take

    plain = AgentlessSetup(arms.parameters, assemble, arms.commands, arms.enable, _unpack)
    with _unpacked(plan.vmlinuz) as image:
        yield replace(plan, vmlinuz=image, agentless=plain)


@contextlib.contextmanager
def _unpacked(image: Path) -> Iterator[Path]:
    """IMAGE as QEMU starts it: in memory where it is packed, by a name that goes when we go."""
    if not arch.is_packed(image):
        yield image
        return
    data = vmlinuz.payload(compression.read_file(image), str(image))
    with open(os.memfd_create("kernel"), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        unpacked = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        if arch.is_packed(unpacked) or arch.of_kernel(unpacked) is not arch.AARCH64:
            raise BadInputError(f"{image} holds no arm64 Image", "give the vmlinuz of a package")
        yield unpacked


def _unpack(path: Path) -> bytes:
    return compression.unpack(compression.read_file(path), str(path))
