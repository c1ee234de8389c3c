# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes FAT file systems, unified kernel images and disks with partitions, by standard tools."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tests.unit.vm.disk.test_extract import tool

STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
"""systemd's, of the package systemd-boot-efi."""

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
XBOOTLDR = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
ROOT = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
ROOT_VERITY = "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"
ROOT_UUID = "0D6F1F0E-8B7C-4C39-9D51-0A5B1C3E7A22"

_MIB = 1 << 20
_MTOOLS = {"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null", "LC_ALL": "C.UTF-8"}
_PLACES = {"osrel": 0x20000, "cmdline": 0x30000, "uname": 0x40000, "linux": 0x2000000,
           "ucode": 0x4000000, "initrd": 0x6000000}  # fmt: skip
"""Addresses far from each other, as in systemd-stub(7)."""


def fat(tree: Path, target: Path, mib: int = 8) -> Path:
    """The files of folder TREE as a FAT file system of MIB MiB."""
    target.unlink(missing_ok=True)
    tool("mkfs.vfat", "-C", str(target), str(mib << 10))
    names = [str(path) for path in sorted(tree.iterdir())]
    if names:
        command = ["mcopy", "-s", "-i", str(target), *names, "::/"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **_MTOOLS})
    return target


def unified(target: Path, **sections: bytes) -> Path:
    """A unified kernel image of SECTIONS, made as systemd-stub(7) makes one."""
    assert STUB.exists(), "systemd-boot-efi is not installed: apt install systemd-boot-efi"
    target.parent.mkdir(parents=True, exist_ok=True)
    options = []
    for name, data in sections.items():
        file = target.with_name(f"{target.name}.{name}")
        file.write_bytes(data)
        options += ["--add-section", f".{name}={file}"]
        options += ["--change-section-vma", f".{name}={_PLACES[name]:#x}"]
    tool("objcopy", *options, str(STUB), str(target))
    for name in sections:
        target.with_name(f"{target.name}.{name}").unlink()
    return target


def pe(sections: Sequence[tuple[str, bytes]], machine: int = 0x8664) -> bytes:
    """The smallest PE file with SECTIONS, which may have the same name: objcopy makes no such."""
    header = 0x40 + 24 + 240 + 40 * len(sections)
    at = header = -(-header // 512) * 512
    table = b""
    for name, data in sections:
        size = -(-len(data) // 512) * 512
        place = (len(data), 0x1000 + at, size, at, 0, 0, 0, 0, 0x40000040)
        table += f".{name}".encode().ljust(8, b"\0") + struct.pack("<IIIIIIHHI", *place)
        at += size
    coff = struct.pack("<HHIIIHH", machine, len(sections), 0, 0, 0, 240, 0x22)
    numbers = (0x20B, 0, 0, 0, 0, 0, 0, 0, 0x1000, 512)
    optional = struct.pack("<HBBIIIIIQI", *numbers) + struct.pack("<I", 512)
    rest = struct.pack("<6HIIIIHHQQQQII", 0, 0, 0, 0, 0, 0, 0, at + 0x1000, header, 0, 10, *[0] * 7)
    optional = (optional + rest)[:236].ljust(236, b"\0") + struct.pack("<I", 0)
    head = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0" + coff + optional + table
    return head.ljust(header, b"\0") + b"".join(
        data.ljust(-(-len(data) // 512) * 512, b"\0") for _name, data in sections
    )


def disk(target: Path, *parts: tuple[str, Path | None, str]) -> Path:
    """A GPT disk with PARTS: a type, a file with the content, more of sfdisk's fields."""
    start, table = 1, "label: gpt\n"
    with target.open("wb") as file:
        for kind, content, more in parts:
            size = -(-content.stat().st_size // _MIB) if content else 1
            table += f"start={start}MiB,size={size}MiB,type={kind}{more}\n"
            if content is not None:
                _copy(content, file, start * _MIB)
            start += size
        file.truncate((start + 1) * _MIB)
    tool("sfdisk", "-q", str(target), text=table)
    return target


def _copy(source: Path, file: BinaryIO, at: int) -> None:
    """Copies what is not zero: SOURCE may be large and sparse."""
    with source.open("rb") as data:
        while part := data.read(_MIB):
            if part.count(0) < len(part):
                file.seek(at)
                file.write(part)
            at += len(part)
