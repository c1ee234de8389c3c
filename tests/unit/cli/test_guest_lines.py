# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording of a guest on its way to a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.surgery import GOLDEN
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


@pytest.mark.parametrize("everything", [False, True])
def test_what_does_not_concern_virtio_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], everything: bool
) -> None:
    """Of a boot of Debian, the first 27 events are about cpufreq, crypto and the like."""
    output = tmp_path / "x.vtr"
    lines = GuestLines(RecordingOutput(str(output)), quiet=False, everything=everything)
    recording = (GOLDEN / "debian-6.1.vtr").read_bytes()
    for line in recording.splitlines(keepends=True):
        lines.consume(line)
    lines.close()
    first, *_, last = capsys.readouterr().err.splitlines()
    assert ("load module acpi_cpufreq" in first) is everything
    assert ("load module virtio_ring" in first) is not everything
    assert ("virtio-trace: -v shows " in last and "of other modules" in last) is not everything
    assert output.read_bytes() == recording


def test_a_damaged_header_shows_its_events_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = GuestLines(RecordingOutput(str(tmp_path / "x.vtr")), quiet=False)
    _, *events = (GOLDEN / "debian-6.1.vtr").read_bytes().splitlines(keepends=True)
    for line in (b'{"schema": "x", "evidence": 5}\n', *events):
        lines.consume(line)
    lines.close()
    assert "virtnet_probe" in capsys.readouterr().err
