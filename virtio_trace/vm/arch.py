# SPDX-License-Identifier: GPL-2.0-or-later
"""The machines that a guest can be: what QEMU calls each, as data, and which one a kernel is for.

The recording's channel is a serial port that no virtio driver serves. A PC has two; QEMU's arm64
board ``virt`` has one, so there it is a PCI card, in the highest slot that nobody named: Debian's
arm64 kernels have its driver built in (CONFIG_SERIAL_8250_PCI), cloud flavour included.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Arch:
    """A machine. ``name`` is as ``uname -m``, ``debian`` dpkg's word, ``program`` its QEMU.

    ``cpu`` is QEMU's -cpu under TCG. ``console`` is the kernel's name for the first serial port;
    ``channel`` gives the recording's to QEMU, ``{slot}`` being a free PCI slot; ``port`` is the
    kernel's name for that one, empty where it is the last on PCI. ``parameters`` are for its
    kernel. ``agent``: whether the eBPF recorder runs in its guests.
    """

    name: str
    debian: str
    program: str
    board: tuple[str, ...]
    cpu: str
    console: str
    channel: tuple[str, ...]
    port: str
    parameters: str
    agent: bool

    @property
    def native(self) -> bool:
        """Whether it is the machine that this program runs on."""
        return os.uname().machine == self.name

    def options(self, options: Sequence[str]) -> list[str]:
        """QEMU's options for the recording's channel, beside a user's OPTIONS."""
        slot = f"{_free_slot(options):02x}"
        return [word.replace("{slot}", slot) for word in self.channel]


# 6.12 and later die at random under TCG of QEMU 7.2, whose cmpxchg16b leaves garbage in EFLAGS;
# without cx16 they do not use it. no_timer_check: on a host that has too much to do, the ticks that
# the kernel counts to try its timer come too late, and it panics (arch/x86/kernel/apic/io_apic.c).
X86_64 = Arch(
    name="x86_64",
    debian="amd64",
    program="qemu-system-x86_64",
    board=(),
    cpu="max,-cx16",
    console="ttyS0",
    channel=("-serial", "chardev:events"),
    port="ttyS1",
    parameters="no_timer_check",
    agent=True,
)

# pauth-impdef: QARMA, which kernels use for every return, is slow to emulate. lpa2=off: kernels
# before 5.12 take QEMU's wider addresses for pages of a size that the processor lacks.
AARCH64 = Arch(
    name="aarch64",
    debian="arm64",
    program="qemu-system-aarch64",
    board=("-machine", "virt"),
    cpu="max,pauth-impdef=on,lpa2=off",
    console="ttyAMA0",
    channel=("-device", "pci-serial,chardev=events,addr={slot}.0"),
    port="",
    parameters="",
    agent=False,
)

ARCHES = (X86_64, AARCH64)

_HEAD = 0x206
_SLOTS = 32
_ADDRESS = re.compile(r"\baddr=(?:0x)?([0-9a-fA-F]{1,2})\b")


def of_kernel(vmlinuz: Path) -> Arch:
    """The machine that a kernel image is for, from the image itself: an x86 bzImage
    (Documentation/arch/x86/boot.rst) or an arm64 Image (Documentation/arch/arm64/booting.rst),
    which may be packed.

    Raises BadInputError where it is neither.
    """
    head = _head(vmlinuz)
    if head[0x38:0x3C] == b"ARM\x64" or _is_packed(head):
        return AARCH64
    if head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == b"HdrS":
        return X86_64
    raise BadInputError(
        f"{vmlinuz} is no kernel image that QEMU starts (an x86 bzImage, an arm64 Image)",
        "give the vmlinuz of a package",
    )


def is_packed(vmlinuz: Path) -> bool:
    """Whether it is an arm64 kernel that has to be unpacked: Image.gz, or an EFI zboot image."""
    return _is_packed(_head(vmlinuz))


def _is_packed(head: bytes) -> bool:
    return head[:2] == b"\x1f\x8b" or (head[:2] == b"MZ" and head[4:8] == b"zimg")


def _head(vmlinuz: Path) -> bytes:
    """Its first bytes. Raises BadInputError."""
    try:
        with vmlinuz.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise BadInputError(f"{vmlinuz}: {error.strerror}", "name a readable vmlinuz") from error


def of_debian(word: str) -> Arch | None:
    """The machine that dpkg calls WORD; None for one that is not known here."""
    return next((arch for arch in ARCHES if arch.debian == word), None)


def _free_slot(options: Sequence[str]) -> int:
    """The highest slot of the first PCI bus that OPTIONS do not name."""
    named = {int(found, 16) for option in options for found in _ADDRESS.findall(option)}
    return max(set(range(1, _SLOTS)) - named, default=_SLOTS - 1)
