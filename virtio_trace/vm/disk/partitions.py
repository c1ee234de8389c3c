# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk image: its format, its partitions and their file systems, by standard tools.

qemu-img reads formats, sfdisk partition tables, blkid file systems. Nothing is mounted and no
virtual machine is started. The image is only read.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.disk.chain import FORMATS
from virtio_trace.vm.disk.chain import read as read_chain
from virtio_trace.vm.host.children import Limits
from virtio_trace.vm.host.programs import ProgramLimitError, Progress, error_line, no_room, run

TOOLS = ("qemu-img", "sfdisk", "blkid", "debugfs")
"""The programs that reading an image needs."""

_RAW = "disk.raw"
_MOST_PARTITIONS = 256
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNPACK = Limits(seconds=7200)


@dataclass(frozen=True, slots=True)
class Partition:
    """An entry of a partition table. ``offset`` and ``size`` are in bytes. The others are those of
    a GPT: ``type`` and ``uuid`` are GUIDs in lower case, ``attributes`` are numbers of bits."""

    number: int
    offset: int
    size: int
    type: str = ""
    uuid: str = ""
    attributes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The content of one partition. ``offset`` and ``size`` are in bytes, ``kind`` is blkid's name
    for it (ext4, xfs, LVM2_member, crypto_LUKS, or ""). ``number`` is 0 for a disk without a
    partition table, and ``partition`` None."""

    number: int
    offset: int
    size: int
    kind: str
    uuid: str = ""
    partition: Partition | None = None

    @property
    def name(self) -> str:
        """``partition 1 (ext4)``."""
        where = f"partition {self.number}" if self.number else "the whole disk"
        return f"{where} ({self.kind or 'nothing known to blkid'})"


def open_image(image: Path, allowed: Sequence[Path] = ()) -> Disk:
    """IMAGE with its format (raw, qcow2, ...) and the files that it names, which may be in its
    folder and in those ALLOWED. Raises BadInputError, CannotTraceError."""
    _check_image(image)
    path = image.resolve()
    try:
        chain = read_chain(path, allowed)
    except OSError as error:
        raise BadInputError(f"{image}: {error.strerror}", "name a disk image") from error
    # qemu-img info never opens a backing file, and refuses to be told of one.
    alone = replace(chain, backing=None)
    name = str(path) if chain.format is None else alone.source(chain.format)
    done = run(["qemu-img", "info", "--output=json", name], f"reading {image}", check=False)
    try:
        found = str(json.loads(done.stdout)["format"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInputError(f"{image}: {_reason(done)}", "is it a whole disk image?") from error
    if chain.format != found and (chain.format is not None or found in FORMATS):
        raise BadInputError(f"{image}: qemu-img takes it for {found}", "is it a whole disk image?")
    return Disk(path, found, chain)


def _check_image(image: Path) -> None:
    """Raises BadInputError unless IMAGE is a file with content that we may read."""
    try:
        found = image.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{image}: {reason}", "name a disk image") from error
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise BadInputError(f"{image} is not a file", "name a disk image")
    if not os.access(image, os.R_OK):
        raise BadInputError(f"{image}: Permission denied", "name one that you may read")
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise BadInputError(f"{image} is empty", "name a disk image")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """What qemu-img says is wrong. A json: name is left out: it has the whole chain."""
    said = error_line(done.stderr).removeprefix("qemu-img: ")
    return re.sub(r"'json:.*}': ", "", said)


def raw(image: Disk, scratch: Path, progress: Progress) -> str:
    """The name in folder SCRATCH under which IMAGE can be read as a guest sees it.

    A raw image is linked. Any other is unpacked, which takes as much space as its data.
    Raises BadInputError if qemu-img cannot unpack it, or the disk is full.
    """
    target, path = scratch / _RAW, image.path
    if image.format == "raw":
        target.symlink_to(path.resolve())
        return _RAW
    what = f"unpacking {path.name}"
    progress(what, None)
    name, form = image.source
    given = ["-f", form] if form else []
    argv = ["qemu-img", "convert", *given, "-O", "raw", name, str(target)]
    hint = "is it whole, and has the cache (XDG_CACHE_HOME) space for its data?"
    try:
        done = run(argv, what, check=False, limits=_UNPACK, watch=lambda: no_room(scratch))
    except ProgramLimitError as error:
        raise BadInputError(f"{path}: {error}", hint) from error
    if done.returncode != 0:
        raise BadInputError(f"{path}: {_reason(done)}", hint)
    progress(what, 1.0)
    return _RAW


def file_systems(disk: str, scratch: Path) -> list[FileSystem]:
    """The partitions of DISK, a name in SCRATCH, in the order of its partition table.

    Raises BadInputError if sfdisk's output cannot be read, CannotTraceError.
    """
    done = run(["sfdisk", "--json", disk], "reading the partition table", cwd=scratch, check=False)
    if done.returncode != 0:  # it has no partition table
        size = (scratch / disk).stat().st_size
        return [_look(disk, scratch, Partition(0, 0, size))]
    return [_look(disk, scratch, found) for found in partitions(done.stdout)[:_MOST_PARTITIONS]]


def partitions(answer: str) -> list[Partition]:
    """The partitions in the output of ``sfdisk --json``. Raises BadInputError."""
    try:
        table: dict[str, Any] = json.loads(answer)["partitiontable"]
        sector = table.get("sectorsize", 512)
        gpt = table.get("label") == "gpt"
        return [_partition(entry, sector, gpt) for entry in table.get("partitions", ())]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInputError("the partition table cannot be read: sfdisk prints no list") from error


def _partition(entry: dict[str, Any], sector: Any, gpt: bool) -> Partition:
    number = re.search(r"([0-9]{1,9})$", entry["node"])
    start, size = _bytes(entry["start"], sector), _bytes(entry["size"], sector)
    place = (int(number[1]) if number else 0, start, size)
    if not gpt:
        return Partition(*place)
    bits = re.search(r"GUID:([0-9,]{1,200})", str(entry.get("attrs", "")))
    attributes = frozenset(int(bit) for bit in bits[1].split(",") if bit) if bits else frozenset()
    return Partition(*place, _guid(entry.get("type")), _guid(entry.get("uuid")), attributes)


def _guid(text: Any) -> str:
    """A GUID in lower case; "" for anything else."""
    found = _GUID.fullmatch(text.lower()) if isinstance(text, str) else None
    return found[0] if found else ""


def _bytes(sectors: Any, size: Any) -> int:
    """SECTORS of SIZE bytes. Raises ValueError if they are not numbers, or too large for a disk."""
    if type(sectors) is not int or type(size) is not int or not 0 <= sectors * size < 1 << 63:
        raise ValueError(sectors)
    return sectors * size


def _look(disk: str, scratch: Path, found: Partition) -> FileSystem:
    number, offset, size = found.number, found.offset, found.size
    place = ["--offset", str(offset), "--size", str(size)] if number else []
    argv = ["blkid", "-p", "-o", "export", *place, disk]
    done = run(argv, "looking for file systems", cwd=scratch, check=False)
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    kind, uuid = said.get("TYPE", ""), said.get("UUID", "")
    return FileSystem(number, offset, size, kind, uuid, found if number else None)
