# SPDX-License-Identifier: GPL-2.0-or-later
"""mdir's list of a FAT file system."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzz import mutations
from virtio_trace.vm.disk import boot_entry, fat
from virtio_trace.vm.disk.fat import Fat
from virtio_trace.vm.disk.partitions import FileSystem

MUTATE = mutations.lines
WORDS = (
    b"::/", b"../", b"./", b"//", b"*", b"[x]", b"\\", b"\0", b"\r", "ß".encode(), "İ".encode(),
    b"::/EFI/Linux/\n", b"::/EFI/Linux/x.efi\n", b"::/loader/entries/a.conf\n", b"x/" * 40,
)  # fmt: skip


class _Listed(Fat):
    def dump(self, path: str, target: Path, most: int = 0) -> Path:
        """Writes what is asked for, as mcopy would do."""
        assert path.startswith("/")
        target.write_text(f"linux {path}\n", "utf-8", "replace")
        return target


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        volume = _Listed("disk.raw", FileSystem(1, 0, 1 << 20, "vfat"), scratch)
        volume.__dict__["_paths"] = fat.paths(data.decode("utf-8", "replace"), "disk")
        for path in volume.files("/"):
            assert not {"..", ".", ""} & set(path.split("/")[1:])
            assert volume.is_file(path)
        for name in volume.names("/"):
            assert volume.is_file(f"/{name}") or volume.is_folder(f"/{name}")
        boot_entry.find([volume], scratch)
