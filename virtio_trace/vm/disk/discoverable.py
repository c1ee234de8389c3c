# SPDX-License-Identifier: GPL-2.0-or-later
"""The root file system of an image whose kernel options do not name it.

Partitions have types that say what they are for (uapi-group.org, Discoverable Partitions
Specification). systemd-gpt-auto-generator finds the root by them, but only on the disk from which
the firmware booted. Our guest has no firmware that says so, hence the root must be named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.partitions import FileSystem

_ROOT = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
_ROOT_VERITY = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"
"""Types of the root of x86-64, and of its hashes."""

_READ_ONLY, _NO_AUTO = 60, 63
"""Bits of a partition's attributes."""

_NAMED = re.compile(
    r"(?:^|\s)(?:root=(?!gpt-auto(?:\s|$))|roothash=|nfsroot=|systemd\.volatile=yes)"
)
_MODE = re.compile(r"(?:^|\s)r[ow](?=\s|$)")


def names_root(options: str) -> bool:
    """Whether the kernel's OPTIONS name the root file system."""
    return _NAMED.search(options) is not None


def root_options(places: Sequence[FileSystem], options: str, image: Path) -> str:
    """What to add to OPTIONS, which do not name the root: ``root=PARTUUID=...``, and ``rw`` where
    nothing says otherwise. "" if no partition has the type of a root.

    Raises BadInputError if the root needs dm-verity or a passphrase.
    """
    found = [
        (place, place.partition)
        for place in places
        if place.partition and place.partition.type == _ROOT
    ]
    usable = [(place, p) for place, p in found if p.uuid and _NO_AUTO not in p.attributes]
    if not usable:
        return ""
    place, partition = usable[0]
    if any(other.partition and other.partition.type == _ROOT_VERITY for other in places):
        raise BadInputError(
            f"{image}: its root, {place.name}, is protected by dm-verity, and its kernel's options "
            "have no root hash",
            "give it: --append roothash=HASH",
        )
    if place.kind == "crypto_LUKS":
        raise BadInputError(
            f"{image}: its root, {place.name}, is encrypted, and its kernel's options do not name "
            "it",
            "say how to open it: --append 'rd.luks.uuid=UUID root=/dev/mapper/luks-UUID'",
        )
    mode = "" if _MODE.search(options) or _READ_ONLY in partition.attributes else " rw"
    return f"root=PARTUUID={partition.uuid}{mode}"
