# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine, as a recorder uses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.kernel.running.initrd import InitrdRoot
from virtio_trace.kernel.running.kmsg import KernelLog
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where this machine has the file systems that tracing needs."""

    tracefs: Path
    debugfs: Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The running kernel, its file systems, this recorder's tracefs events, the kernel's log and
    the initrd's root."""

    host: HostKernel
    mounts: Mounts
    control: KprobeEvents
    log: KernelLog
    initrd: InitrdRoot
