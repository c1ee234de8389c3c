# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said where a library of an extra is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.fleet.lakes import GOLDENS

_CODE = """
import sys
sys.modules[sys.argv[1]] = None  # import raises ImportError
from virtio_trace.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("pyarrow", "import {golden} -o {new}"),
        ("fsspec", "import file://{golden} -o {new}"),
        ("ibis", "summary {lake}"),
        ("duckdb", "summary {lake}"),
        ("duckdb", "sql {lake} SELECT"),
        ("pyspark", "summary {lake} --spark local[1]"),
    ],
)
def test_the_error_names_the_extra(library: str, words: str, lake: Path, tmp_path: Path) -> None:
    name = "ibis-framework" if library == "ibis" else library
    extra = "spark" if library == "pyspark" else "fleet"
    known = {"golden": GOLDENS[0], "new": tmp_path / "lake", "lake": lake}
    argv = [sys.executable, "-c", _CODE, library, "fleet", *words.format(**known).split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr == (
        f"virtio-trace: Python package {name} is not installed\n"
        f"  install extra {extra}, in a clone of virtio-trace: pip install '.[{extra}]'\n"
    )


def test_other_commands_import_none_of_them() -> None:
    code = (
        "import sys; from virtio_trace.cli.main import run; run(['check', sys.argv[1]]);"
        "run(['fleet', '--help']); found = {'duckdb', 'ibis', 'pyarrow', 'fsspec', 'pandas'};"
        "print(found & set(sys.modules), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code, str(GOLDENS[0])]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"
