# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest without an agent gets: lists of what to trace, for its script (guest/plain).

The script prints the kernel's trace ring, and the host interprets it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.kernel.files.machine import Machine
from virtio_trace.vm.root.own import OwnRoot

LineSink = Callable[[bytes], None]
"""Consumes a line, its newline included."""


@dataclass(frozen=True, slots=True)
class AgentlessSetup:
    """What such a guest traces. ``parameters`` go on the kernel's command line. ``definitions`` are
    lines for kprobe_events and ``enable`` lines for set_event; both are written before the first
    module is loaded. ``assemble(sink)`` returns a consumer of the guest's lines that passes a
    recording's lines on to SINK. ``unpack`` returns the unpacked content of a module's file."""

    parameters: str
    assemble: Callable[[LineSink], LineSink]
    definitions: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    unpack: Callable[[Path], bytes] = Path.read_bytes


def root(setup: AgentlessSetup, machine: Machine, task: str | None) -> OwnRoot:
    """The root of such a guest of MACHINE. TASK is the shell text of --run."""
    lists = {"definitions": setup.definitions, "enable": setup.enable}
    files = {name: "".join(f"{x}\n" for x in lines).encode() for name, lines in lists.items()}
    files["port"] = f"{machine.port}\n".encode()
    return OwnRoot("plain", files, task, unpack=setup.unpack)
