# SPDX-License-Identifier: GPL-2.0-or-later
"""A unified kernel image, read by pefile and taken apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

from virtio_trace.vm.disk import uki

WORDS = (
    b".linux\0\0", b".initrd\0", b".ucode\0\0", b".cmdline", b".osrel\0\0", b".uname\0\0",
    b".profile",
    b"MZ", b"PE\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"ID=x\n", b"NAME='",
)  # fmt: skip


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "x.efi", Path(folder) / "out"
        target.mkdir()
        path.write_bytes(data)
        uki.machine(path)
        uki.os_release(path)
        found = uki.extract(path, target)
        taken = [found.vmlinuz, *found.initrds]
        assert sum(file.stat().st_size for file in taken) <= len(data)
        assert len(found.options) <= 64 << 10
        assert {file.parent for file in taken} == {target}
