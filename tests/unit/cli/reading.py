# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the commands that read a recording share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.unit.surgery import GOLDEN

RECORDINGS = sorted(GOLDEN.glob("*.vtr"))
COMMANDS = (
    ("report",),
    ("report", "--format", "json"),
    ("report", "--format", "perfetto"),
    ("check",),
    ("check", "--format", "json"),
    ("check", "--profile", "spec"),
    ("graph",),
    ("script",),
    ("script", "--format", "json"),
)
OF_A_VERDICT = {0, 1, 4}
BAD_INPUT = 5

Run = Callable[..., tuple[int, str, str]]


def process(*arguments: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command in its own process, without a terminal, as a shell does: without COLUMNS,
    which readline, imported by pytest, puts into the environment."""
    command = ["env", "-u", "COLUMNS", sys.executable, "-m", "virtio_trace", *map(str, arguments)]
    return subprocess.run(command, text=True, timeout=60, check=False, **keywords)


def assert_ended_well(status: int, err: str, allowed: set[int]) -> None:
    assert status in allowed
    assert "Traceback" not in err
    if status == BAD_INPUT:
        message, *hint = err.splitlines()
        assert message.startswith("virtio-trace: ")
        assert len(hint) == 1
        assert hint[0].startswith("  ")
