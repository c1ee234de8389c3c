# SPDX-License-Identifier: GPL-2.0-or-later
"""What the executor sends of a boot's own events while they go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_trace.tracer.executor.state import boot_ring
from virtio_trace.tracer.executor.tree import MOST_BYTES, Tree

_PROFILE, _TRACE, _STATS = "kprobe_profile", "trace", "per_cpu/cpu0/stats"


class Running(Tree):
    """A tracefs in which an event is hit after each file that is read."""

    def read(self, path: str, most: int = MOST_BYTES) -> bytes | None:
        assert self.descriptor is not None
        found = super().read(path, most)
        hits = int((super().read(_PROFILE) or b"").split()[1]) + 1
        self.write(_PROFILE, f"  vt/a {hits} 0\n")
        self.write(_TRACE, "line\n" * hits)
        return found

    def write(self, path: str, text: str) -> None:
        file = os.open(path, os.O_WRONLY | os.O_TRUNC, dir_fd=self.descriptor)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)


@pytest.fixture
def tracefs(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "per_cpu/cpu0").mkdir(parents=True)
    files = {"kprobe_events": "p:vt/a f\n", "trace_clock": "[mono]\n", _STATS: "overrun: 0\n"}
    for name, text in {**files, _PROFILE: "  vt/a 1 0\n", _TRACE: "line\n"}.items():
        (tmp_path / name).write_text(text)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield Running(descriptor)
    os.close(descriptor)


def test_every_hit_that_is_counted_has_its_line(tracefs: Running) -> None:
    sent: dict[str, bytes | None] = {}
    boot_ring(tracefs, "vt", sent.__setitem__)
    hits = int((sent["boot profile"] or b"").split()[1])
    assert 0 < hits <= (sent["boot trace"] or b"").count(b"\n")
    assert sent["boot stats cpu0"] == b"overrun: 0\n"


def test_a_kernel_without_them_sends_nothing(tracefs: Running) -> None:
    sent: dict[str, bytes | None] = {}
    boot_ring(tracefs, "", sent.__setitem__)
    boot_ring(tracefs, "other", sent.__setitem__)
    assert sent == {}
