# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk image as a device of a guest: it is read, never written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import UsageError
from virtio_trace.vm.disk.chain import ImageFile

NAME = "image"
"""The image's id in QEMU's options: a user can place the device with drive=image."""

_SLOTS = range(3, 0x1F)
_ADDRESS = re.compile(r"\baddr=(?:0x)?([0-9a-f]{1,2})(?:\.[0-7])?\b", re.I)

_NET = ("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=,addr=02.0")
_RNG = ("-device", "virtio-rng-pci,addr=04.0")


@dataclass(frozen=True, slots=True)
class Disk:
    """An image and its format, as qemu-img names it. ``chain`` has the files that it names, if it
    has a format that names others: QEMU is then told each of them."""

    path: Path
    format: str
    chain: ImageFile | None = None

    @property
    def source(self) -> tuple[str, str | None]:
        """The file name for QEMU, and the format to give with it."""
        if self.chain is None or self.chain.format is None:
            return str(self.path), self.format
        return self.chain.source(self.format), None

    def devices(self, options: Sequence[str]) -> tuple[str, ...]:
        """QEMU's options: the image as the first virtio-blk disk; and net and rng, or OPTIONS
        instead of these two.

        An address that OPTIONS name is not used. If they have drive=image, they place the disk.
        Raises UsageError if no PCI slot is left.
        """
        # A comma in a value is doubled (QEMU's manual, -drive).
        name, form = self.source
        file = name.replace(",", ",,") + (f",format={form}" if form else "")
        drive = f"if=none,id={NAME},file={file},snapshot=on"
        found: tuple[str, ...] = ("-drive", drive)
        if any(re.search(rf"\bdrive={NAME}\b", option) for option in options):
            return (*found, *options)
        taken = {int(slot, 16) for option in options for slot in _ADDRESS.findall(option)}
        free = next((slot for slot in _SLOTS if slot not in taken), None)
        if free is None:
            raise UsageError("no PCI slot is left for the image", "place it with drive=image")
        device = ("-device", f"virtio-blk-pci,drive={NAME},addr={free:02x}.0")
        if not options:
            return (*found, *_NET, *device, *_RNG)
        return (*found, *device, *options)
