# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of the BPF program that BCC is given. tests/vm loads it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import virtio_trace
from virtio_trace.bpf_source import bpf_folder
from virtio_trace.tracer.bpf.loader import PROBE_POINT, program_text

TEXT = program_text(bpf_folder())


def test_every_header_is_in_the_text_once() -> None:
    assert "#include" not in TEXT
    for header in bpf_folder().glob("*.h"):
        guard = re.search(r"^#define (VT_\w+_H)$", header.read_text("utf-8"), re.MULTILINE)
        assert guard is not None
        assert TEXT.count(guard[0]) == 1


def test_the_text_has_the_constant_that_is_replaced() -> None:
    assert TEXT.count(f"{PROBE_POINT:#x}") == 1


def test_headers_in_the_current_directory_are_not_found(tmp_path: Path) -> None:
    """clang took linux/types.h from below the working directory. BCC is the system Python's."""
    for place in (tmp_path / "linux", tmp_path / "include/linux", tmp_path / "asm"):
        place.mkdir(parents=True)
        for name in ("types.h", "kconfig.h", "page.h"):
            (place / name).write_text('#error "somebody else\'s"\n')
    code = "from virtio_trace.tracer.bpf.loader import Program; Program().close(); print('built')"
    package = Path(virtio_trace.__file__).resolve().parent.parent
    done = subprocess.run(
        ["/usr/bin/python3", "-P", "-c", code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("built\n", 0), done.stderr
