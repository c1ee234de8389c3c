# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of debugfs on an ext file system, separated by lines of =====. They are returned in
turn, whatever the request."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import mutations
from virtio_trace.errors import VirtioTraceError
from virtio_trace.vm.disk.debugfs import Debugfs
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.partitions import FileSystem

MUTATE = mutations.lines
WORDS = (
    b"=====\n", b"/2/040755/0/0/..//\n", b"/12/120777/0/0/link/5/\n", b"/13/100644/0/0/file/5/\n",
    b'Fast link dest: "', b"Filesystem features: needs_recovery\n", b"../", b"/14/040755/0/0/x//\n",
)  # fmt: skip


class _Answers(Debugfs):
    def __init__(self, answers: list[str], scratch: Path) -> None:
        super().__init__("disk.raw", scratch, "disk")
        self._answers = answers
        self._asked = 0

    def ask(self, requests: Sequence[str]) -> list[str]:
        found = []
        for _ in requests:
            found.append(self._answers[self._asked % len(self._answers)])
            self._asked += 1
        return found


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ext = Ext("disk.raw", FileSystem(1, 0, 1 << 20, "ext4"), scratch)
        ext._debugfs = _Answers(data.decode("utf-8", "replace").split("=====\n"), scratch)
        _ = ext.unclean, ext.names("/boot"), ext.is_folder("/etc"), list(ext.files("/"))
        for path in ("/", "/boot/grub/grub.cfg", "/link", "/..", *ext.names("/")):
            with contextlib.suppress(VirtioTraceError):
                ext.dump(path, scratch / "dumped")
        with contextlib.suppress(VirtioTraceError):
            ext.read("/file")
