# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracing needs of this machine. doctor shows every answer, record stops at the first no."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.host import Answer, HostKernel
from virtio_trace.tracer.bpf.compile import require
from virtio_trace.tracer.points.resolve import GET_COOKIE
from virtio_trace.tracer.session.machine import Mounts

DEBUGFS = Path("/sys/kernel/debug")
PROGRAMS = "BPF programs, or BCC to compile them"

_MAX_KALLSYMS = 256 << 20
"""Bytes, as in kernel/running/host.py."""


def prerequisites(kernel: HostKernel) -> list[tuple[str, Callable[[], Answer]]]:
    """The name and the check of each prerequisite, the most telling first."""
    return [
        ("kernel lockdown", kernel.may_probe),
        ("kprobes in the kernel", kernel.has_kprobes),
        ("BTF, the kernel's types", kernel.has_btf),
        ("root", kernel.is_privileged),
        ("tracefs", kernel.has_tracefs),
        ("list of kprobes in debugfs", _has_list),
        ("kprobes switched on", _switched_on),
        ("module files of this kernel", lambda: _has_modules(kernel)),
        (PROGRAMS, lambda: _has_programs(kernel)),
    ]


def require_tracing(kernel: HostKernel) -> Mounts:
    """The mounts of tracefs and debugfs. Raises CannotTraceError if a prerequisite is missing."""
    for name, ask in prerequisites(kernel):
        if name == PROGRAMS:
            break  # importing BCC is slow; the session gets the programs and reports errors
        answer = ask()
        if not answer.ok:
            raise CannotTraceError(f"cannot trace here: {answer.reason}", answer.hint)
    tracefs = kernel.tracefs()
    assert tracefs is not None
    return Mounts(tracefs, DEBUGFS)


def _has_list() -> Answer:
    try:
        (DEBUGFS / "kprobes" / "list").read_bytes()
    except PermissionError:
        return Answer(False, "debugfs cannot be read without root", "run it with sudo")
    except OSError:
        mount = f"mount -t debugfs debugfs {DEBUGFS}"
        return Answer(False, f"{DEBUGFS}/kprobes/list does not exist", mount)
    return Answer(True)


def _switched_on() -> Answer:
    switch = DEBUGFS / "kprobes" / "enabled"
    try:
        on = switch.read_text(encoding="ascii").strip() != "0"
    except OSError:
        return Answer(True)
    return Answer(on, "kprobes are switched off on this machine", f"echo 1 > {switch}")


def _has_modules(kernel: HostKernel) -> Answer:
    tree = kernel.module_tree
    if (tree / "modules.builtin").exists() or (tree / "kernel").is_dir():
        return Answer(True)
    return Answer(False, f"no module files in {tree}", "install this kernel's package with modules")


def _has_programs(kernel: HostKernel) -> Answer:
    try:
        require(kernel.machine, cookie=_has_symbol(kernel, GET_COOKIE))
    except CannotTraceError as error:
        return Answer(False, str(error), error.hint)
    return Answer(True)


def _has_symbol(kernel: HostKernel, name: str) -> bool:
    """Any user can read the names in /proc/kallsyms, if not the addresses."""
    text = sysfs.data(kernel.proc / "kallsyms", _MAX_KALLSYMS) or b""
    return f" {name}\n".encode() in text
