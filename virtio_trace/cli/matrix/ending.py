# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written when a matrix ends: the summary, on standard output and in its folder."""

from __future__ import annotations

import io

import click

from virtio_trace.cli.support.results import result_output
from virtio_trace.cli.support.say import say
from virtio_trace.cli.support.terminal import paint_for, width_of
from virtio_trace.errors import IncompleteError
from virtio_trace.matrix.folder import MatrixFolder, write_json
from virtio_trace.matrix.summary import Summary
from virtio_trace.render.matrix_junit import matrix_junit
from virtio_trace.render.matrix_page import matrix_page
from virtio_trace.render.matrix_text import summary_lines

OVERVIEW = "index.html"


def conclude(summary: Summary, folder: MatrixFolder) -> None:
    """Prints SUMMARY, and writes it to FOLDER as JSON, JUnit and HTML. Raises IncompleteError."""
    try:
        write_json(folder.path / "matrix.json", summary.to_json())
        for name, renderer in (("junit.xml", matrix_junit), (OVERVIEW, matrix_page)):
            text = io.StringIO()
            renderer(summary, text)
            fresh = folder.path / f"{name}.new"
            fresh.write_text(text.getvalue(), "ascii")
            fresh.replace(folder.path / name)
    except OSError as error:
        raise IncompleteError(f"{folder.path}: cannot write: {error.strerror}") from error
    with result_output() as out:
        for line in summary_lines(summary, width_of(out), paint_for(out)):
            click.echo(line, file=out)
    say(f"the overview is {folder.path / OVERVIEW}")
