# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording of a guest on its way to a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtio_trace.cli.boot import guest_lines
from virtio_trace.cli.boot.guest_lines import GuestLines
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.errors import IncompleteError


def test_empty_lines_fill_the_memory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of 4 KB may have four million of them."""
    monkeypatch.setattr(guest_lines, "MOST_BYTES", 10_000)
    lines = GuestLines(RecordingOutput(str(tmp_path / "x.vtr")), quiet=True)
    with pytest.raises(IncompleteError, match="it ends here"):
        for _ in range(1000):
            lines.consume(b"\n")
    assert 50 < len(lines.lines) < 500
    lines.close()
