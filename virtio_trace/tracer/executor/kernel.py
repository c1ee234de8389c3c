# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the running kernel is the one that a plan was made for."""

from __future__ import annotations

import posix
import struct

from virtio_trace.tracer.executor.plan import Plan
from virtio_trace.tracer.executor.tree import Tree

_NOTE = struct.Struct("<III")  # sizes of name and description, type (elf(5), Nhdr)
_BUILD_ID = 3  # NT_GNU_BUILD_ID


def mismatch(plan: Plan, sys: Tree) -> str:
    """What is wrong with PLAN for this kernel; "": nothing. SYS is the folder /sys."""
    here = posix.uname()
    if here.machine != plan.machine:
        return f"the plan is for {plan.machine}, this machine is {here.machine}"
    if here.release != plan.release:
        return f"the plan is for Linux {plan.release}, this is {here.release}"
    found = build_id(sys.read("kernel/notes", 1 << 16) or b"")
    if plan.build_id and found and found != plan.build_id:
        return (
            f"the plan is for the build {plan.build_id.hex()} of Linux {plan.release}, "
            f"this is {found.hex()}"
        )
    return ""


def build_id(notes: bytes) -> bytes:
    """The build id in a kernel's ELF NOTES (/sys/kernel/notes); empty: it has none."""
    at = 0
    while at + _NOTE.size <= len(notes):
        name, size, kind = _NOTE.unpack_from(notes, at)
        start = at + _NOTE.size
        place = start + (name + 3 & ~3)
        if kind == _BUILD_ID and notes[start : start + name] == b"GNU\0":
            return notes[place : place + size]
        at = place + (size + 3 & ~3)
    return b""
