# SPDX-License-Identifier: GPL-2.0-or-later
"""How a boot ended, as data; and the errors for a QEMU that does not start its guest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from virtio_trace.errors import BadInputError, CannotTraceError, UsageError, VirtioTraceError
from virtio_trace.vm.host.programs import error_line
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.root.until import StopReason

End = Literal["done", "timeout", "died"]


@dataclass(slots=True)
class Outcome:
    """How a boot ended.

    ``end``: ``done``, the recording is complete (``recorder`` is the recorder's exit status, None
    if QEMU died before the guest could report it); ``timeout``; ``died``, the guest ended before
    its recorder. ``said``: the last lines of the recorder's standard error. ``tail``: the console's
    last lines. ``causes``: what the console gives as reasons for a boot that does not come up.
    ``stderr`` is QEMU's, ``status`` its exit status, None if we ended it. ``seconds`` is from
    QEMU's start to its end. ``root_too_big``: the kernel had no memory for its root; we ended it,
    as modules would be missing. ``dropped``: lines too long to be kept. ``damaged``: lines that
    were damaged on the way from the guest. ``stop``: why the recording of a third-party system
    ended, and whether its condition was met.
    """

    accel: str
    argv: list[str]
    end: End = "died"
    recorder: int | None = None
    said: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    stderr: str = ""
    status: int | None = None
    seconds: float = 0.0
    spoke: bool = False
    root_too_big: bool = False
    dropped: int = 0
    damaged: int = 0
    stop: StopReason | None = None

    @property
    def qemu_failed(self) -> bool:
        """Whether QEMU ended by itself, and not because the guest switched itself off."""
        return self.status not in (0, None)


def too_small(reason: str, memory: int) -> UsageError:
    """The error for a guest that needs MEMORY, in MiB."""
    return UsageError(f"the guest has too little memory: {reason}", f"give it -m {memory}, or more")


def refused(outcome: Outcome, plan: Plan, memory: int) -> VirtioTraceError:
    """The error for a QEMU that failed before the guest printed anything."""
    reason = error_line(outcome.stderr)
    if "initrd is too large" in reason:
        return too_small(reason, memory)
    if "could not load kernel" in reason or "kernel header" in reason:
        return BadInputError(f"QEMU does not start {plan.vmlinuz}: {reason}", "is it a vmlinuz?")
    if plan.settings.options:
        return UsageError(f"QEMU refused its options: {reason}", "see the options after --")
    return CannotTraceError(f"QEMU does not start: {reason}", "-v shows its command line")
