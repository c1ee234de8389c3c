# SPDX-License-Identifier: GPL-2.0-or-later
"""grub-fstest's list of a folder, whichever folder is asked for."""

from __future__ import annotations

import contextlib
import tempfile
from itertools import islice
from pathlib import Path

from tests.fuzz import mutations
from virtio_trace.errors import VirtioTraceError
from virtio_trace.vm.disk import boot_entry, fstest
from virtio_trace.vm.disk.fstest import GrubVolume
from virtio_trace.vm.disk.partitions import FileSystem

MUTATE = mutations.lines
WORDS = (
    b"DIR          20261125140638 ", b"4            20261125140638 ", b"../\n", b"./\n", b"/\n",
    b"@rootfs/\n", b"@/\n", b"etc/\n", b"boot/\n", b"grub.cfg\n", b"vmlinuz-1\n", b"9" * 20, b"\0",
)  # fmt: skip


class _Listed(GrubVolume):
    def __init__(self, listing: str, scratch: Path) -> None:
        super().__init__("disk.raw", FileSystem(1, 0, 1 << 20, "btrfs"), scratch)
        self._found = fstest.listed(listing)

    def _list(self, folder: str) -> dict[str, int | None]:
        return self._found if folder.count("/") < 4 else {}

    def dump(self, path: str, target: Path, most: int = 0) -> Path:
        """Writes what is asked for, as grub-fstest would do."""
        target.write_text(f"linux {path}\n", "utf-8", "replace")
        return target


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        volume = _Listed(data.decode("utf-8", "replace"), Path(folder))
        for path in islice(volume.files("/"), 100):
            assert not {"..", ".", ""} & set(path.split("/")[1:])
            assert volume.is_file(path)
        with contextlib.suppress(VirtioTraceError):
            boot_entry.find([volume], Path(folder))
