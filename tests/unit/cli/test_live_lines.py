# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines that record and boot print as events happen."""

from __future__ import annotations

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.cli.support.live import LiveLines
from virtio_trace.recording import reader


def shown(capsys: pytest.CaptureFixture[str], name: str, everything: bool = False) -> str:
    """What is printed while the events of the golden recording NAME happen."""
    with (GOLDEN / f"{name}.vtr").open("rb") as lines:
        read = reader.read(lines, name)
    live = LiveLines(False, read.header.evidence, everything)
    live.show(read.events)
    live.close()
    return capsys.readouterr().err


@pytest.mark.parametrize("everything", [False, True])
def test_bits_are_names_as_in_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, everything: bool
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = shown(capsys, "debian-6.1-failures", everything)
    assert " offers=STATS_VQ|PAGE_POISON|" in text
    assert " wants=MUST_TELL_HOST|STATS_VQ|" in text
    assert " status=ACKNOWLEDGE|DRIVER|FAILED" in text
    assert "=0x" not in text


@pytest.mark.parametrize("columns", [80, 100])
def test_no_line_is_longer_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("debian-6.1-failures", "debian-6.12-rebind", "debian-arm64-6.12-mmio"):
        lines = [
            line
            for line in shown(capsys, name).splitlines()
            if not line.startswith("virtio-trace:")
        ]
        assert max(map(len, lines)) <= columns
        assert any("|" in line for line in lines)


def test_a_drivers_legacy_table_is_told_by_what_it_has_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = shown(capsys, "debian-6.1-failures").splitlines()
    of = {
        driver: next(line for line in lines if " wants=" in line and f"{driver} wants" in line)
        for driver in ("virtio_net", "virtio_balloon", "virtio_rng")
    }
    assert of["virtio_net"].endswith(" legacy=+GSO|ANY_LAYOUT")
    assert of["virtio_balloon"].endswith("|REPORTING legacy=same")
    assert of["virtio_rng"].endswith(" wants=none legacy=none")
