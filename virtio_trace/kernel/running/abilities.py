# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel lets this process do, of all that tracing needs.

Where one answer hangs on another that is no, it is unknown: never yes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.container import container, in_user_namespace
from virtio_trace.kernel.running.host import HostKernel

_CAP_DAC_OVERRIDE, _CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 1, 21, 38, 39


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a prerequisite is met. ``ok`` is None where that cannot be told.

    ``reason`` says why it is not, or what is to be known of a yes; ``hint`` what to do. With
    ``partly``, tracing works, but not all of it.
    """

    ok: bool | None
    reason: str = ""
    hint: str = ""
    partly: bool = False


class Abilities:
    """Asks about KERNEL. ``container`` is what we run in; None: no container."""

    def __init__(self, kernel: HostKernel) -> None:
        self.kernel = kernel
        self.container = container(kernel.proc)

    @cached_property
    def debugfs(self) -> Path:
        """Where debugfs should be."""
        return self.kernel.sys / "kernel/debug"

    def lockdown(self) -> Answer:
        """Whether lockdown allows kprobes (kernel_lockdown(7))."""
        mode = self.kernel.lockdown()
        if mode == "confidentiality":
            return _LOCKED
        return Answer(
            True, "integrity, which allows kprobes and BPF" if mode == "integrity" else ""
        )

    def kprobes(self) -> Answer:
        """Whether kprobes can be defined through tracefs."""
        where = self.kernel.tracefs()
        control = where / "kprobe_events" if where else None
        if control and sysfs.exists(control):
            if not self.root().ok or os.access(control, os.W_OK):
                return Answer(True)
            return Answer(False, f"{where} is mounted read-only", f"mount -o remount,rw {where}")
        missing = self._unset("KPROBES", "KPROBE_EVENTS")
        if missing:
            return Answer(False, f"this kernel is built without {missing}", _OTHER_KERNEL)
        if where is not None:
            return Answer(False, f"{where} has no kprobe_events", _OTHER_KERNEL)
        tracefs = self.tracefs()
        if tracefs == _LOCKED:
            return tracefs
        if self.kernel.config is None:
            return self._unknown("tracefs")
        return Answer(True)

    def btf(self) -> Answer:
        """Whether the kernel exports its BTF, the types of its structs."""
        path = self.kernel.sys / "kernel/btf/vmlinux"
        if sysfs.exists(path):
            return Answer(True)
        missing = self._unset("DEBUG_INFO_BTF")
        what = f"this kernel is built without {missing}" if missing else f"{path} is not there"
        return Answer(False, what, "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's have")

    def root(self) -> Answer:
        """Whether this process may load BPF programs and define kprobes (capabilities(7))."""
        found = re.search(
            r"^CapEff:\s*([0-9a-f]{1,16})$",
            sysfs.text(self.kernel.proc / "self/status") or "",
            re.M,
        )
        have = int(found[1], 16) if found else 0
        few = (_CAP_DAC_OVERRIDE, _CAP_PERFMON, _CAP_BPF)
        if in_user_namespace(self.kernel.proc):
            return Answer(
                False,
                "root of a user namespace only: kprobes and BPF need the machine's root",
                "run it outside, as root; a rootless container cannot trace",
            )
        if have >> _CAP_SYS_ADMIN & 1 or all(have >> bit & 1 for bit in few):
            return Answer(True)
        if self.container is not None and os.geteuid() == 0:
            return Answer(False, "root without CAP_SYS_ADMIN, as containers have it", PRIVILEGED)
        return Answer(False, "not root: no CAP_SYS_ADMIN", "run it with sudo")

    def tracefs(self) -> Answer:
        """Whether tracefs is mounted and can be read."""
        kernel = self.kernel
        if kernel.tracefs():
            return Answer(True)
        if self._unset("FTRACE", "TRACING"):
            return Answer(
                False, "this kernel is built without tracing (CONFIG_FTRACE)", _OTHER_KERNEL
            )
        if kernel.is_locked_down():  # a tracefs that is mounted is then empty
            return _LOCKED
        if not self.root().ok:
            return Answer(False, "tracefs cannot be read without root", self.root().hint)
        mount = f"mount -t tracefs tracefs {kernel.sys / 'kernel/tracing'}"
        return Answer(False, "tracefs is not mounted", mount)

    def kprobe_list(self) -> Answer:
        """Whether the kernel's list of armed kprobes can be read."""
        if self.kprobes().ok is False:
            return self._unknown("kprobes")
        if not self.root().ok:
            return Answer(False, "debugfs cannot be read without root", self.root().hint)
        if sysfs.data(self.debugfs / "kprobes/list", 1) is not None:
            return Answer(True)
        if self.kernel.is_locked_down():
            return _LOCKED
        if self._unset("DEBUG_FS"):
            return Answer(False, "this kernel is built without CONFIG_DEBUG_FS", _OTHER_KERNEL)
        return Answer(False, "debugfs is not mounted", f"mount -t debugfs debugfs {self.debugfs}")

    def switched_on(self) -> Answer:
        """Whether kprobes are enabled (Documentation/trace/kprobes.rst)."""
        if self.kprobes().ok is not True:
            return self._unknown("kprobes")
        switch = self.debugfs / "kprobes/enabled"
        if self.kprobe_list().ok is not True:
            return self._unknown("debugfs")
        off = sysfs.text(switch) == "0"  # lockdown keeps it from being read: it is on then
        return Answer(not off, "kprobes are switched off" if off else "", f"echo 1 > {switch}")

    def addresses(self) -> Answer:
        """Whether /proc/kallsyms shows addresses (kernel/kallsyms.c, kallsyms_show_value)."""
        if sysfs.text(self.kernel.proc / "sys/kernel/kptr_restrict") != "2":
            return Answer(True)
        return Answer(
            False,
            "kptr_restrict=2 hides them: built-in drivers, and built-in functions that share a "
            "name, are not seen",
            "sysctl kernel.kptr_restrict=1",
            partly=True,
        )

    def modules(self) -> Answer:
        """Whether the files of this kernel's modules are there."""
        tree = self.kernel.module_tree
        if sysfs.exists(tree / "modules.builtin") or sysfs.is_dir(tree / "kernel"):
            return Answer(True)
        hint = "install this kernel's package with modules"
        if self.container is not None:
            hint = "give the container the host's: -v /lib/modules:/lib/modules:ro"
        return Answer(False, f"no module files in {tree}", hint)

    @staticmethod
    def _unknown(without: str) -> Answer:
        return Answer(None, f"unknown without {without}")

    def _unset(self, *names: str) -> str:
        """The first of the options that the configuration lacks; "" where none or not known."""
        config = self.kernel.config
        if config is None:
            return ""
        missing = (f"CONFIG_{n}" for n in names if config.get(f"CONFIG_{n}", "n") == "n")
        return next(missing, "")


PRIVILEGED = (
    "start the container with --privileged -v /lib/modules:/lib/modules:ro"
    " -v /sys/kernel/tracing:/sys/kernel/tracing -v /sys/kernel/debug:/sys/kernel/debug"
)
"""What a container needs of docker run or podman run, as root of the host."""

_LOCKED = Answer(
    False,
    "the kernel is locked down (confidentiality): it refuses kprobes, BPF and tracefs",
    "boot without lockdown=confidentiality",
)
_OTHER_KERNEL = "boot a kernel that has it, as Debian's have; or try: virtio-trace boot"
