# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan of matrix. No case may reach a file outside of the plan's folder, or another program."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from virtio_trace.matrix import plan
from virtio_trace.matrix.folder import MatrixFolder
from virtio_trace.matrix.job import job

WORDS = (
    b"[kernel.a]\n", b"[board.b]\n", b"[[case]]\n", b"debian = ", b"vmlinuz = ", b"modules = ",
    b"initrd = ", b"image = ", b"backing = [", b"devices = [", b"append = ", b"timeout = ",
    b"accel = ", b"collector = ", b"boot_events = ", b"run = ", b"until = ", b"boots = ",
    b"expect.verdict = ", b"expect.errors = [", b"expect.board = ", b"expect.strict = ",
    b"qemu = [", b"kernels = [", b"boards = [", b'"../', b'"/etc/passwd"', b'"plan.toml"', b"'''",
    b"inf", b",netdev=x", b",romfile=x", b"virtio-", b'"CONFORMS"', b"nan", b"99999",
)  # fmt: skip


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="vt-fuzz-") as name:
        folder = Path(name).resolve()
        path = folder / "plan.toml"
        path.write_bytes(data)
        trust = b"-qmp" in data
        found = plan.read(path, trust=trust)
        for case in found.cases[:50]:
            assert MatrixFolder(folder).case(case.name).resolve().is_relative_to(folder)
            assert all(file.is_relative_to(folder) for file in case.source.files)
            boot = job(case, retries=0, version="1").boot
            ours, options = boot[: boot.index("--")], boot[boot.index("--") + 1 :]
            assert all(re.match(r"boot$|--?[a-z]|\.$", one) for one in ours)
            assert trust or not any("/" in one for one in options)
            assert case.fingerprint
