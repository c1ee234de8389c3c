# SPDX-License-Identifier: GPL-2.0-or-later
"""A command in this process, and a recording of a failure."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.reading import Run
from tests.unit.surgery import at, change, dump, golden
from virtio_trace.cli import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command in this process: its status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        said.out.encode()  # there is no lone surrogate in any output
        return status, said.out, said.err

    yield run
    gc.enable()  # commands that read disable it


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A real recording in which virtblk_probe returned -ENOMEM."""
    lines = golden("debian-6.1")
    blk = next(e["device"]["address"] for e in lines if e.get("function") == "virtblk_probe")
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, blk, kind="return"), result=-12)
    path = tmp_path / "failing.vtr"
    path.write_bytes(b"".join(dump(lines)))
    return path
