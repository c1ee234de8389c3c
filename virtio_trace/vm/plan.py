# SPDX-License-Identifier: GPL-2.0-or-later
"""What to boot and how: a plan, checked before anything is built or started."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.kernel.files.machine import X86_64, Machine
from virtio_trace.vm import arch
from virtio_trace.vm.host.programs import is_text, need
from virtio_trace.vm.qemu import accel, process
from virtio_trace.vm.root import foreign_initrd, payload, recorder
from virtio_trace.vm.root.agentless import AgentlessSetup
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem
from virtio_trace.vm.root.recorder import ExecutorSetup

COLLECTORS = ("auto", "bpf", "ftrace")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to boot any kernel. ``timeout`` is in seconds from QEMU's start.

    ``run`` is shell text for the guest. ``options`` are QEMU's and replace the default devices.
    ``console`` is the file that keeps the console. ``collector`` is one of COLLECTORS. ``root``: an
    archive in place of our own root's busybox.
    """

    append: str = ""
    timeout: float = 300.0
    accel: str = "auto"
    run: str | None = None
    options: tuple[str, ...] = ()
    console: Path | None = None
    collector: str = "auto"
    root: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One boot. ``arch`` is the kernel's machine, read from its image once, by :meth:`of`.

    ``modules`` is a …/lib/modules/RELEASE folder; None if neither the initrd nor the disk has one.
    ``agentless``: what a guest without an agent traces; ``executor``: what one with an executor
    does. ``third_party``: boot this initrd, and its disk if it has one, which somebody else built.
    """

    vmlinuz: Path
    modules: Path | None
    arch: Machine
    settings: Settings = Settings()
    agentless: AgentlessSetup | None = None
    executor: ExecutorSetup | None = None
    third_party: ThirdPartySystem | None = None

    @classmethod
    def of(
        cls,
        vmlinuz: Path,
        modules: Path | None,
        settings: Settings = Settings(),
        *,
        third_party: ThirdPartySystem | None = None,
    ) -> Plan:
        """A plan for the kernel VMLINUZ. Raises BadInputError if it is not a kernel image."""
        machine = arch.of_kernel(vmlinuz)
        return cls(vmlinuz, modules, machine, settings, third_party=third_party)

    def qemu_config(self, accelerator: str, initrd: int) -> process.QemuConfig:
        """QEMU's configuration for an initrd of INITRD bytes.

        Raises UsageError if no PCI slot is left for the image.
        """
        settings, memory = self.settings, process.memory_for(initrd)
        if self.third_party is None:
            parameters = self.agentless.parameters if self.agentless else recorder.FIRST
            append = f"{parameters} {settings.append}".strip()
            return process.QemuConfig(
                self.vmlinuz, append, accelerator, settings.options, memory, self.arch
            )
        return process.QemuConfig(
            self.vmlinuz,
            foreign_initrd.options(self.third_party, settings.append),
            accelerator,
            self.third_party.devices(settings.options),
            memory + foreign_initrd.MEMORY,
            self.arch,
            first="",
        )


def uses_agent(settings: Settings, machine: Machine) -> bool:
    """Whether the guest runs the eBPF recorder: by default, wherever MACHINE supports it.

    Raises UsageError if it was requested and MACHINE does not support it.
    """
    if settings.collector == "bpf" and not machine.agent:
        raise UsageError(
            f"--collector bpf does not support {machine.name}", "use --collector ftrace"
        )
    return machine.agent and settings.collector != "ftrace"


def check_settings(settings: Settings, machine: Machine = X86_64) -> None:
    """Every check that needs only the kernel's MACHINE. Builds and starts nothing.

    Raises UsageError, or CannotTraceError (a program is missing, or the host is not x86-64).
    """
    if not X86_64.native:
        raise CannotTraceError(
            f"boot does not support a host of {os.uname().machine}", f"it needs {X86_64.name}"
        )
    if not 0 < settings.timeout < float("inf"):
        raise UsageError(f"--timeout must be more than 0 seconds, not {settings.timeout:g}")
    if settings.run is not None and not is_text(settings.run):
        raise UsageError("--run has a zero byte, or is not UTF-8")
    process.check_options(settings.options)
    process.cmdline(settings.append, machine)
    if settings.console is not None:
        _check_console(settings.console)
    need([machine.program, "setpriv", "depmod", "apt-get"])
    accel.candidates(settings.accel, machine)


def _check_console(path: Path) -> None:
    writable = False
    with contextlib.suppress(OSError):  # such as ENAMETOOLONG
        exists = path.exists()
        usable = path.is_file() or path.is_char_device() if exists else path.parent.is_dir()
        writable = usable and os.access(path if exists else path.parent, os.W_OK)
    if not writable:
        raise UsageError(f"--keep-console {path}: cannot be written", "name another file")


def check(plan: Plan) -> Plan:
    """Returns PLAN with its paths resolved, after checking its settings and its files.

    Raises what :func:`check_settings` raises, and BadInputError for an unusable file.
    """
    check_settings(plan.settings, plan.arch)
    if plan.third_party is not None and not uses_agent(plan.settings, plan.arch):
        raise UsageError(
            "--image and --initrd run the eBPF recorder: they do not take --collector ftrace",
            "give its kernel as --kernel VMLINUZ with --modules DIR",
        )
    modules = payload.check_modules(plan.modules) if plan.modules is not None else None
    plan = replace(plan, vmlinuz=plan.vmlinuz.absolute(), modules=modules)
    for initrd in plan.third_party.initrds if plan.third_party else ():
        foreign_initrd.check_initrd(initrd)
    plan.qemu_config("tcg", 0).cmdline  # noqa: B018 raises UsageError if it is too long
    return plan
