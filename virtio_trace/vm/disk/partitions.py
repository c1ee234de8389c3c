# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk image: its format, its partitions and what file systems they have, by tools made for it.

qemu-img knows formats, sfdisk partition tables, blkid file systems. Nothing is mounted and no
virtual machine started; the image is only read.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.vm.host.programs import Progress, run, said

TOOLS = ("qemu-img", "sfdisk", "blkid", "debugfs")
"""Which image.py and ext.py call too."""

_RAW = "disk.raw"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system, or what else fills a partition: ``offset`` and ``size`` in bytes, ``kind``
    as blkid names it (ext4, xfs, LVM2_member, crypto_LUKS, ""). ``number`` of the partition is 0
    where the disk has none."""

    number: int
    offset: int
    size: int
    kind: str
    uuid: str = ""

    @property
    def name(self) -> str:
        """``partition 1 (ext4)``."""
        where = f"partition {self.number}" if self.number else "the whole disk"
        return f"{where} ({self.kind or 'nothing that blkid knows'})"


def format_of(image: Path) -> str:
    """The format of IMAGE (raw, qcow2, ...). Raises BadInputError, CannotTraceError."""
    if not image.exists():
        raise BadInputError(f"{image}: No such file or directory", "name a disk image")
    if not (image.is_file() or image.is_block_device()):
        raise BadInputError(f"{image} is no file", "name a disk image")
    if not os.access(image, os.R_OK):
        raise BadInputError(f"{image}: Permission denied", "name one that you may read")
    argv = ["qemu-img", "info", "--output=json", str(image.resolve())]
    done = run(argv, f"looking at {image}", check=False)
    try:
        found = str(json.loads(done.stdout)["format"])
    except (ValueError, KeyError, TypeError) as error:
        reason = said(done.stderr).removeprefix("qemu-img: ")
        raise BadInputError(f"{image}: {reason}", "is it a whole disk image?") from error
    if image.is_file() and image.stat().st_size == 0:
        raise BadInputError(f"{image} is empty", "name a disk image")
    return found


def raw(image: Path, form: str, scratch: Path, progress: Progress) -> str:
    """The name in folder SCRATCH under which IMAGE can be read as it is seen by a guest.

    A raw one is linked there; another one is unpacked, which takes as much room as its data has.
    Raises BadInputError where qemu-img cannot do that.
    """
    target = scratch / _RAW
    if form == "raw":
        target.symlink_to(image.resolve())
        return _RAW
    what = f"unpacking {image.name}"
    progress(what, None)
    argv = ["qemu-img", "convert", "-f", form, "-O", "raw", str(image.resolve()), str(target)]
    done = run(argv, what, check=False)
    if done.returncode != 0:
        raise BadInputError(
            f"{image}: {said(done.stderr).removeprefix('qemu-img: ')}",
            "is it whole, and is there room for its data in the cache (XDG_CACHE_HOME)?",
        )
    progress(what, 1.0)
    return _RAW


def file_systems(disk: str, scratch: Path) -> list[FileSystem]:
    """What the DISK (a name in SCRATCH) has, in the order of its partition table.

    Raises BadInputError where sfdisk's answer cannot be understood, CannotTraceError.
    """
    done = run(["sfdisk", "--json", disk], "reading the partition table", cwd=scratch, check=False)
    if done.returncode != 0:  # it has no partition table
        size = (scratch / disk).stat().st_size
        return [_look(disk, scratch, 0, 0, size)]
    return [_look(disk, scratch, *place) for place in partitions(done.stdout)]


def partitions(answer: str) -> list[tuple[int, int, int]]:
    """(number, offset, size in bytes) by ``sfdisk --json``. Raises BadInputError."""
    try:
        table: dict[str, Any] = json.loads(answer)["partitiontable"]
        sector = table.get("sectorsize", 512)
        found = []
        for entry in table.get("partitions", ()):
            number = re.search(r"([0-9]{1,9})$", entry["node"])
            start, size = _bytes(entry["start"], sector), _bytes(entry["size"], sector)
            found.append((int(number[1]) if number else 0, start, size))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError("the partition table cannot be read: sfdisk gives no list") from error
    return found


def _bytes(sectors: Any, size: Any) -> int:
    """SECTORS of SIZE bytes. Raises ValueError for what is no number, and for no disk's size."""
    if type(sectors) is not int or type(size) is not int or not 0 <= sectors * size < 1 << 63:
        raise ValueError(sectors)
    return sectors * size


def _look(disk: str, scratch: Path, number: int, offset: int, size: int) -> FileSystem:
    place = ["--offset", str(offset), "--size", str(size)] if number else []
    argv = ["blkid", "-p", "-o", "export", *place, disk]
    done = run(argv, "looking for file systems", cwd=scratch, check=False)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return FileSystem(number, offset, size, found.get("TYPE", ""), found.get("UUID", ""))
