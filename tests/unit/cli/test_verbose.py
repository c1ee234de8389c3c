# SPDX-License-Identifier: GPL-2.0-or-later
"""-v says more: what its help promises."""

from __future__ import annotations

import pytest

from tests.unit.cli.reading import Run
from tests.unit.surgery import GOLDEN


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("check", "drivers/virtio/virtio.c, virtio_dev_probe"),
        ("report", "  VIRTIO_BALLOON_F_PAGE_POISON       yes"),
        ("script", " offers=0x"),
    ],
)
def test_more_is_printed(run: Run, command: str, more: str) -> None:
    path = GOLDEN / "debian-6.1-failures.vtr"
    usual, verbose = run(command, path)[1], run(command, "-v", path)[1]
    assert more not in usual
    assert " ".join(more.split()) in " ".join(verbose.split())


def test_all_warnings(run: Run) -> None:
    path = GOLDEN / "debian-6.1-lossy.vtr"
    for command in ("graph", "report"):
        usual, verbose = run(command, path)[2], run(command, "-v", path)[2]
        assert len(usual.splitlines()) <= len(verbose.splitlines())
