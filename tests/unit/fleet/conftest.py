# SPDX-License-Identifier: GPL-2.0-or-later
"""A lake with the golden recordings, on two days."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fleet.lakes import GOLDENS, copy, fleet


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three copies of each golden recording: two of one day, one of a later one."""
    folder = tmp_path_factory.mktemp("recordings")
    days = "2026-03-01", "2026-03-01", "2026-04-15"
    return [
        copy(golden, folder / str(number) / golden.name, number, day)
        for number, day in enumerate(days)
        for golden in GOLDENS
    ]


@pytest.fixture(scope="session")
def lake(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """They are only read: a test that changes it makes its own."""
    folder = tmp_path_factory.mktemp("lake") / "lake"
    assert fleet("import", recordings[0].parents[1], "-o", folder) == 0
    return folder
