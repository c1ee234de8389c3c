# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of renderers: every row loads and fits its function; a format imports its own only."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.cli.support import formats
from virtio_trace.cli.support.formats import FORMATS, Format

ROWS = [(command, row) for command, rows in FORMATS.items() for row in rows]


@pytest.mark.parametrize(("command", "row"), ROWS, ids=lambda part: getattr(part, "name", part))
def test_a_row_names_a_renderer_that_can_be_called_so(command: str, row: Format) -> None:
    renderer, prepare = row.load()
    assert callable(prepare)
    inspect.signature(renderer).bind("subject", "stream", **dict.fromkeys(row.takes))
    out = inspect.signature(renderer).parameters["out"].annotation
    assert out == ("BinaryIO" if row.binary else "TextIO")
    assert formats.find(command, row.name) is row


@pytest.mark.parametrize("command", FORMATS)
def test_names_of_formats_are_unique(command: str) -> None:
    names = formats.names(command)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("style", "imported"), [("json", False), ("table", True)])
def test_tabulate_is_imported_for_tables_only(style: str, imported: bool) -> None:
    code = (
        "import sys; from virtio_trace.cli.main import run;"
        "status = run(sys.argv[1:]); print('tabulate' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", GOLDEN / "debian-6.1.vtr", "--format", style],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert done.stderr.split() == [str(imported)]


def test_png_goes_out_byte_by_byte_whatever_the_locale(tmp_path: Path) -> None:
    """Drawn by a program of the name rsvg-convert: what it writes is what comes out."""
    program = tmp_path / "rsvg-convert"
    program.write_text("#!/bin/sh\ncat >/dev/null\nprintf '\\211PNG\\r\\n\\n'\n")
    program.chmod(0o755)
    command = [sys.executable, "-m", "virtio_trace", "graph", "--format", "png"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*command, GOLDEN / "debian-6.1.vtr"], capture_output=True, check=True, env=environment
    )
    assert done.stdout == b"\x89PNG\r\n\n"
