# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that begin from an EFI system partition, where kernel and initrd are."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.unit.vm.disk import esp

UUID = "7b1c3f52-9d0e-4a67-8f3a-2c5d6e7f8a90"
"""The root partition's own (PARTUUID)."""

_OSREL = b"ID=debian\nPRETTY_NAME='Debian, unified'\nVERSION_ID=12\n"
OPTIONS = "rw console=ttyS0 systemd.firstboot=off"
"""With a root that is writable at once, systemd would ask who is to be root."""

_MIB = 96


def disk(kind: str, boot: Path, fs: Path, scratch: Path) -> Path:
    """A disk with the root FS, whose folder /boot is BOOT.

    ``uki``: a unified kernel image in EFI/Linux, with boot counting. ``bls``: an entry for
    systemd-boot, which loader.conf names, and a newer one, which would not boot. Neither has root=:
    the partition's type says which one is the root.
    """
    tree = scratch / "esp"
    (linux,), (initrd,) = boot.glob("vmlinuz-*"), boot.glob("initrd.img-*")
    if kind == "uki":
        esp.unified(
            tree / "EFI/Linux/debian-12+3-0.efi",
            **{"osrel": _OSREL, "cmdline": OPTIONS.encode() + b"\0"},
            linux=linux.read_bytes(),
            initrd=initrd.read_bytes(),
        )
    else:
        _entries(tree, linux, initrd)
    parts = (esp.ESP, esp.fat(tree, scratch / "fat", _MIB), ""), (esp.ROOT, fs, f",uuid={UUID}")
    made = esp.disk(scratch / "disk.raw", *parts)
    fs.unlink()
    return made


def _entries(tree: Path, linux: Path, initrd: Path) -> None:
    (tree / "loader/entries").mkdir(parents=True)
    (tree / "EFI/systemd").mkdir(parents=True)
    shutil.copy(esp.STUB.with_name("systemd-bootx64.efi"), tree / "EFI/systemd")
    (tree / "debian").mkdir()
    shutil.copy(linux, tree / "debian/linux")
    shutil.copy(initrd, tree / "debian/initrd")
    (tree / "loader/loader.conf").write_text("timeout 3\ndefault debian-6*\n")
    (tree / "loader/entries/debian-6.1.conf").write_text(
        "title Debian, by an entry\nversion 6.1\nsort-key debian\nlinux /debian/linux\n"
        f"initrd /debian/initrd\noptions {OPTIONS}\n"
    )
    (tree / "loader/entries/debian-9.conf").write_text(
        "title Newer\nversion 9\nsort-key debian\nlinux /gone/linux\n"
    )
