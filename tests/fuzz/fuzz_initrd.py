# SPDX-License-Identifier: GPL-2.0-or-later
"""Another system's initrd and the options it is booted with; the words of --until."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from virtio_trace.errors import VirtioTraceError
from virtio_trace.vm.root import foreign_initrd, recorder
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem

WORDS = (
    b"running", b"quiet:", b"text:", b"rdinit=/init", b"console=ttyS1,115200", b'"', b"070701",
)  # fmt: skip


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(VirtioTraceError):
        foreign_initrd.parse_until(text)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        system = ThirdPartySystem((foreign_initrd.check_initrd(Path(file.name)),), text)
    assert foreign_initrd.options(system, text).startswith(recorder.FIRST)
    foreign_initrd.first_process(system, text)
