# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of the BPF program that BCC is given. tests/vm loads it."""

from __future__ import annotations

import re

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
