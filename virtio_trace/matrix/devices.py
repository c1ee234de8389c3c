# SPDX-License-Identifier: GPL-2.0-or-later
"""A board's devices as QEMU's options, each with what it needs behind it.

A plan may come from somebody else, so a device may be a VirtIO device of QEMU and nothing else, and
none of its properties may name a file of the host. Networks are closed to the host
(``restrict=on``), and disks are zeros.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DEVICE = re.compile(r"(virtio-[a-z0-9-]+)((?:,[a-z0-9_.-]+(?:=[A-Za-z0-9_.:+-]*)?)*)")
_OURS = ("netdev", "drive", "cryptodev", "chardev", "fsdev", "romfile", "rng", "vhostfd", "fd")
"""Properties that name something else: it is given here, or cannot be given."""

DEFAULT = (
    "virtio-net-pci,addr=02.0",
    "virtio-blk-pci,addr=03.0",
    "virtio-rng-pci,addr=04.0",
)
"""The devices of boot."""

DEFAULT_WITH_IMAGE = (DEFAULT[0], DEFAULT[2])
"""The same for an image, which is a disk."""


def wrong(device: str) -> str | None:
    """Why DEVICE cannot be a device of a board; None if it can."""
    found = _DEVICE.fullmatch(device)
    if found is None:
        return "is not a VirtIO device of QEMU with plain properties"
    for name in re.findall(r",([^,=]+)", found[2]):
        if name in _OURS:
            return f"its property {name} cannot be set in a plan"
    return None


def options(devices: Sequence[str]) -> list[str]:
    """QEMU's options for DEVICES, in their order."""
    found: list[str] = []
    for number, device in enumerate(devices):
        kind, _, properties = device.partition(",")
        before, more = _backend(kind, f"vt{number}")
        whole = ",".join(part for part in (kind, more, properties) if part)
        found += [*before, "-device", whole]
    return found


def _backend(kind: str, name: str) -> tuple[list[str], str]:
    """Options before a device of KIND, and the properties by which it uses them."""
    if kind.startswith("virtio-net-"):
        rom = ",romfile=" if "-pci" in kind else ""  # without: seconds of network boot
        return ["-netdev", f"user,id={name},restrict=on"], f"netdev={name}{rom}"
    if kind.startswith("virtio-blk-"):
        disk = f"null-co,node-name={name},size=67108864,read-zeroes=on"
        return ["-blockdev", disk], f"drive={name}"
    if kind.startswith("virtio-crypto-"):
        return ["-object", f"cryptodev-backend-builtin,id={name}"], f"cryptodev={name}"
    return [], ""
