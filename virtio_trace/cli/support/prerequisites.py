# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracing needs of this machine. doctor shows every answer, record stops at the first no."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from virtio_trace.cli.support.say import warn
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.abilities import PRIVILEGED, Abilities, Answer
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.tracer.bpf.compile import require
from virtio_trace.tracer.executor import syscalls
from virtio_trace.tracer.points.resolve import GET_COOKIE
from virtio_trace.tracer.session.machine import Mounts

PROGRAMS = "compiled programs, or BCC to compile them"

_BPF_PROG_TYPE_KPROBE = 2
_RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
"""The smallest program: r0 = 0; exit."""
_MAX_KALLSYMS = 256 << 20
"""Bytes, as in kernel/running/host.py."""


def prerequisites(abilities: Abilities) -> list[tuple[str, Callable[[], Answer]]]:
    """The name and the check of each prerequisite, the most telling first."""
    return [
        ("kernel lockdown", abilities.lockdown),
        ("kprobes in the kernel", abilities.kprobes),
        ("BTF, the kernel's types", abilities.btf),
        ("root", abilities.root),
        ("BPF programs", lambda: _may_load(abilities)),
        ("tracefs", abilities.tracefs),
        ("list of kprobes in debugfs", abilities.kprobe_list),
        ("kprobes switched on", abilities.switched_on),
        ("kernel addresses", abilities.addresses),
        ("module files of this kernel", abilities.modules),
        (PROGRAMS, lambda: _has_programs(abilities.kernel)),
    ]


def require_tracing(kernel: HostKernel) -> Mounts:
    """The mounts of tracefs and debugfs. Raises CannotTraceError if a prerequisite is missing, in
    the words of doctor; warns of one that is missing in part."""
    abilities = Abilities(kernel)
    for name, ask in prerequisites(abilities):
        if name == PROGRAMS:
            break  # importing BCC is slow; the session gets the programs and reports errors
        answer = ask()
        if answer.ok is not False:
            continue
        if not answer.partly:
            where = f" in {abilities.container}" if abilities.container else ""
            raise CannotTraceError(f"cannot trace here{where}: {answer.reason}", answer.hint)
        warn(f"{name}: {answer.reason}: {answer.hint}")
    tracefs = kernel.tracefs()
    if tracefs is None:  # it was unmounted meanwhile
        raise CannotTraceError("cannot trace here: tracefs is not mounted")
    return Mounts(tracefs, abilities.debugfs)


def _may_load(abilities: Abilities) -> Answer:
    """Loads the smallest program: what bpf(2) says counts, whatever the reason (bpf(2), seccomp(2),
    a security module)."""
    if not abilities.root().ok:
        return Answer(None, "unknown without root")
    try:
        syscalls.unlimited_memlock()
        os.close(syscalls.prog_load(_BPF_PROG_TYPE_KPROBE, _RETURN_0))
    except OSError as error:
        said = f"bpf(2) failed: {error.strerror}"
        if error.errno == errno.ENOSYS:
            return Answer(
                False,
                f"{said}: this kernel is built without CONFIG_BPF_SYSCALL",
                "boot a kernel that has it, as Debian's have; or try: virtio-trace boot",
            )
        hint = "a security module refuses it: see dmesg, or try: virtio-trace boot"
        return Answer(False, said, PRIVILEGED if abilities.container else hint)
    return Answer(True)


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
