# SPDX-License-Identifier: GPL-2.0-or-later
"""The same summary from Spark, on this machine: make fleet-spark installs what it needs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None,
        reason="pyspark is not installed: make fleet-spark",
    ),
    pytest.mark.skipif(
        shutil.which("java") is None, reason="Spark needs Java: apt install openjdk-17-jre-headless"
    ),
]


def test_spark_and_duckdb_give_the_same_summary(lake: Path) -> None:
    words = ["summary", str(lake), "--format", "json", "--since", "2026-04-01"]
    argv = [sys.executable, "-m", "virtio_trace", "fleet", *words]
    spark, duck = (
        json.loads(subprocess.run([*argv, *more], check=True, capture_output=True).stdout)
        for more in (["--spark", "local[2]"], [])
    )
    assert spark == duck
    assert duck["boots"]["boots"] == 51
    assert duck["outliers"]


def test_a_master_that_is_none_is_named(lake: Path) -> None:
    argv = [sys.executable, "-m", "virtio_trace", "fleet", "summary", str(lake), "--spark", "no"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert "virtio-trace: Spark at no: " in done.stderr
