# SPDX-License-Identifier: GPL-2.0-or-later
"""A third party's initrd, unpacked for its modules: nothing is written outside of its folder."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from virtio_trace.vm.disk import initrd_modules
from virtio_trace.vm.host.programs import quiet

WORDS = (
    b"070701", b"070702", b"00000000", b"000081a4", b"0000a1ff", b"ffffffff", b"TRAILER!!!\0",
    b"usr/lib/modules/6.1/", b"../", b"kernel/a.ko\0", b"modules.dep\0", b"\x1f\x8b\x08\0",
    b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9", b"\x5d\0\0\x80\0", b"\x89LZO",
)  # fmt: skip
_LZ4 = b"\x02\x21\x4c\x18"


def one(data: bytes) -> None:
    if _LZ4 in data:
        return  # runs the program lz4, which is slow to start
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "initrd").write_bytes(data)
        scratch = top / "scratch"
        scratch.mkdir()
        try:
            initrd_modules.extract([top / "initrd"], None, scratch, quiet, [])
        finally:
            assert {path.name for path in top.iterdir()} == {"initrd", "scratch"}
            below = [path for path in scratch.rglob("*") if path.name != "lib"]
            assert all(path.is_relative_to(scratch / "lib/modules") for path in below)
            kinds = {stat.S_IFMT(path.lstat().st_mode) for path in below}
            assert kinds <= {stat.S_IFDIR, stat.S_IFREG}
