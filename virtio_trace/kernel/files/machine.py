# SPDX-License-Identifier: GPL-2.0-or-later
"""The machines that are supported: one record each, with everything that differs between them.

To support a machine, add a record to MACHINES. It must be 64-bit and little-endian, as every reader
of a kernel's files expects. What a record cannot say is how to decode instructions: the code that
does (kernel/drivers/in_image.py, struct_search.py) asks ``image_pointers_final`` and
``add_immediate`` first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

ELF_IDENT = b"\x7fELF\x02\x01"
"""The first bytes of a 64-bit little-endian ELF file: EI_MAG, EI_CLASS, EI_DATA (gABI)."""


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """One machine. ``name`` is as in ``uname -m``, ``debian`` is dpkg's name for it, ``title`` is
    for messages and help.

    Files (the processor's ELF supplement; include/uapi/linux/elf-em.h):
        ``elf``: e_machine (EM_*).
        ``pointer``: type of the relocation for a 64-bit pointer in data.
        ``calls``: types of the relocations for a call or a tail call.
        ``call_opcode``: bytes of a call instruction before its relocation.
        ``addresses``: types of the relocations in code that takes an address, with the bytes to
        add to the addend.
        ``add_immediate``: (mask, value) of the instruction that adds a 12-bit immediate, in bits 10
        to 21, to an address for the first argument; None where compilers do without.

    Kernel image:
        ``image_magic``: (offset, bytes) that the image QEMU starts has; at most IMAGE_HEAD bytes.
        ``image_flat``: the unpacked kernel is its memory from the first byte on, not an ELF file,
        and the image may be wrapped (Image.gz, EFI zboot).
        ``image_pointers_final``: pointers in the image have the addresses that the kernel was
        linked for, so that they can be followed.

    Tracing:
        ``arguments``: registers of a function's first arguments, as fetch arguments name them.
        ``mmio``: devices on virtio-mmio are common.
        ``bpf``: bpf/regs.h's name for it.

    Guests:
        ``program``: the QEMU program, ``package`` the Debian package that has it; ``board`` are its
        options for the board, ``cpu`` is -cpu under TCG.
        ``console``: the kernel's name for the first serial port.
        ``channel``: QEMU's options for the port that carries the recording, ``{slot}`` stands for a
        free PCI slot. ``port``: the kernel's name for it; empty: the last serial port on PCI.
        ``command_line``: bytes of the kernel's command line (COMMAND_LINE_SIZE less its NUL). With
        one more, x86 dies silently and arm64 truncates it. ``parameters``: for that line.
        ``agent``: whether the eBPF recorder runs in guests.
    """

    name: str
    debian: str
    title: str

    elf: int
    pointer: int
    calls: tuple[int, ...]
    call_opcode: int
    addresses: Mapping[int, int]
    add_immediate: tuple[int, int] | None

    image_magic: tuple[tuple[int, bytes], ...]
    image_flat: bool
    image_pointers_final: bool

    arguments: tuple[str, ...]
    mmio: bool
    bpf: str

    program: str
    package: str
    board: tuple[str, ...]
    cpu: str
    console: str
    channel: tuple[str, ...]
    port: str
    command_line: int
    parameters: str
    agent: bool

    @property
    def native(self) -> bool:
        """Whether this process runs on such a machine."""
        return os.uname().machine == self.name

    def has_image(self, head: bytes) -> bool:
        """Whether HEAD, the first IMAGE_HEAD bytes of a file, is that of this machine's kernel."""
        return all(head[at : at + len(magic)] == magic for at, magic in self.image_magic)


X86_64 = Machine(
    name="x86_64",
    debian="amd64",
    title="x86-64",
    elf=62,  # EM_X86_64
    pointer=1,  # R_X86_64_64
    calls=(2, 4),  # R_X86_64_PC32, R_X86_64_PLT32
    call_opcode=1,  # e8 or e9
    # mov: R_X86_64_32S, 32, 64; lea: R_X86_64_PC32, PLT32, relative to the instruction's end.
    addresses={11: 0, 10: 0, 1: 0, 2: 4, 4: 4},
    add_immediate=None,
    image_magic=((0x1FE, b"\x55\xaa"), (0x202, b"HdrS")),  # Documentation/arch/x86/boot.rst
    image_flat=False,
    image_pointers_final=True,
    arguments=("%di", "%si", "%dx", "%cx", "%r8", "%r9"),
    mmio=False,
    bpf="VT_MACHINE_X86_64",
    program="qemu-system-x86_64",
    package="qemu-system-x86",
    board=(),
    # Kernels from 6.12 on crash at random under TCG of QEMU 7.2: its cmpxchg16b corrupts EFLAGS.
    # Without cx16 they do not use it.
    cpu="max,-cx16",
    console="ttyS0",
    channel=("-device", "isa-serial,index=1,chardev=events"),
    port="ttyS1",
    command_line=2047,  # arch/x86/include/asm/setup.h
    # On a busy host, the ticks that the kernel counts to test its timer come too late, and it
    # panics (arch/x86/kernel/apic/io_apic.c, check_timer).
    parameters="no_timer_check",
    agent=True,
)

AARCH64 = Machine(
    name="aarch64",
    debian="arm64",
    title="arm64",
    elf=183,  # EM_AARCH64
    pointer=257,  # R_AARCH64_ABS64
    calls=(282, 283),  # R_AARCH64_JUMP26, R_AARCH64_CALL26
    call_opcode=0,
    addresses={277: 0},  # R_AARCH64_ADD_ABS_LO12_NC, the second half of adrp + add
    add_immediate=(0xFFC0001F, 0x91000000),  # add x0, xN, #imm12 (Arm ARM, ADD (immediate))
    image_magic=((0x38, b"ARM\x64"),),  # Documentation/arch/arm64/booting.rst
    image_flat=True,
    image_pointers_final=False,
    arguments=("%x0", "%x1", "%x2", "%x3", "%x4", "%x5"),
    mmio=True,
    bpf="VT_MACHINE_ARM64",
    program="qemu-system-aarch64",
    package="qemu-system-arm",
    board=("-machine", "virt"),
    # pauth-impdef: QARMA, which kernels use for every return, is slow to emulate. lpa2=off: kernels
    # before 5.12 take QEMU's wider addresses for a page size that the processor lacks.
    cpu="max,pauth-impdef=on,lpa2=off",
    console="ttyAMA0",
    # The board has one serial port. Debian's kernels have the driver of this PCI card built in
    # (CONFIG_SERIAL_8250_PCI), the cloud flavour included.
    channel=("-device", "pci-serial,chardev=events,addr={slot}.0"),
    port="",
    command_line=2047,  # arch/arm64/include/uapi/asm/setup.h
    parameters="",
    agent=True,
)

MACHINES = (X86_64, AARCH64)

IMAGE_HEAD = 0x206
"""Bytes of an image's start in which every ``image_magic`` is."""

NAMES = " or ".join(machine.title for machine in MACHINES)
"""For messages and help."""

NAMES_IN_IMAGE = " or ".join(each.title for each in MACHINES if each.image_pointers_final)
"""Those of which the drivers that are built into an image can be read."""


def by_name(name: str) -> Machine | None:
    """The machine that ``uname -m`` calls NAME; None: not supported."""
    return next((machine for machine in MACHINES if machine.name == name), None)


def by_debian(name: str) -> Machine | None:
    """The machine that dpkg calls NAME; None: not supported."""
    return next((machine for machine in MACHINES if machine.debian == name), None)


def of_elf(data: bytes) -> Machine | None:
    """The machine that an ELF file is for, by e_machine; None: not supported."""
    if data[: len(ELF_IDENT)] != ELF_IDENT:
        return None
    number = int.from_bytes(data[18:20], "little")
    return next((machine for machine in MACHINES if machine.elf == number), None)


def of_image(head: bytes) -> Machine | None:
    """The machine of a kernel image that is not wrapped, by HEAD, its first IMAGE_HEAD bytes."""
    return next((machine for machine in MACHINES if machine.has_image(head)), None)


def of_kernel(kernel: bytes) -> Machine | None:
    """The machine of an unpacked kernel, an ELF file or flat; None: not supported."""
    if kernel[:4] == ELF_IDENT[:4]:
        return of_elf(kernel)
    found = of_image(kernel[:IMAGE_HEAD])
    return found if found and found.image_flat else None
