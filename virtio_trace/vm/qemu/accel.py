# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator for QEMU: KVM if it works, else software emulation (TCG).

/dev/kvm can exist and not work: under some nested hypervisors the guest hangs silently. So ``auto``
tries KVM, falls back to TCG if the console stays silent, and remembers that for this machine and
this host kernel.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.files.machine import X86_64, Machine
from virtio_trace.vm.host import cache

CHOICES = ("auto", "kvm", "tcg")

SILENCE = 6.0
"""Seconds without a byte on the console after which KVM is assumed to hang.

A Debian kernel's first output comes well within one second under KVM, two under TCG.
"""

DEVICE = Path("/dev/kvm")


def usable(device: Path = DEVICE) -> str:
    """Why KVM cannot be used; "" if the device can be opened."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{device}: {error.strerror}"
    return ""


def candidates(choice: str, guest: Machine = X86_64) -> tuple[str, ...]:
    """The accelerators to try, in order, for one of CHOICES and a kernel of machine GUEST.

    Raises CannotTraceError if KVM was requested and cannot be used.
    """
    if choice == "tcg":
        return ("tcg",)
    other = f"this machine is not {guest.name}"
    reason = usable() if guest.native else other
    if choice == "kvm":
        if reason:
            raise CannotTraceError(f"KVM cannot be used: {reason}", "use --accel tcg, or auto")
        return ("kvm",)
    if reason or _known() == "tcg":
        return ("tcg",)
    return ("kvm", "tcg")


def remember(accel: str) -> None:
    """Makes ACCEL the choice of ``auto`` on this machine, in the cache."""
    cache.write_json(_file(), {"machine": machine(), "accel": accel})


def machine() -> str:
    """A hash of this machine and its kernel, 16 hexadecimal digits: a change means a new try."""
    try:
        model = re.findall(r"^(?:model name|CPU part)\s*:.*$", _read("/proc/cpuinfo"), re.MULTILINE)
    except OSError:
        model = []
    parts = [*os.uname(), *model[:1]]
    for name in ("/etc/machine-id", "/sys/class/dmi/id/product_name"):
        try:
            parts.append(_read(name).strip())
        except OSError:
            parts.append("")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _read(name: str) -> str:
    return Path(name).read_text("utf-8", errors="replace")


def _file() -> Path:
    return cache.root() / "accel.json"


def _known() -> str | None:
    known = cache.read_json(_file())
    if isinstance(known, dict) and known.get("machine") == machine():
        return str(known.get("accel"))
    return None
