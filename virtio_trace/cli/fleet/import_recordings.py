# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace fleet import."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import warn
from virtio_trace.errors import BadInputError, UsageError

if TYPE_CHECKING:
    from virtio_trace.fleet.importer import Imported

_EXAMPLES = (
    Example("Import two folders", "virtio-trace fleet import monday tuesday -o lake"),
    Example(
        "Import what a bucket has",
        'virtio-trace fleet import "s3://runs/2026-11/*.vtr" -o lake',
    ),
)


@click.command("import", cls=Command, examples=_EXAMPLES, short_help="Add recordings to a lake.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--output", "folder", metavar="LAKE", required=True, help="The lake, a folder.")
@click.option(
    "--date",
    "when",
    metavar="YYYY-MM-DD",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The date of these recordings, instead of each file's modification time.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 256),
    default=lambda: len(os.sched_getaffinity(0)),
    help="Processes that read recordings. [default: one for each processor]",
)
def import_command(paths: tuple[str, ...], folder: str, when: datetime | None, jobs: int) -> int:
    """Add recordings to a lake.

    PATH is a recording, a folder (all *.vtr in it, at any depth), or a URL that fsspec reads, where
    * matches names. LAKE is made unless it exists. A recording is identified by its content: one
    that is in the lake already is skipped, wherever it lies now. Several imports may run at once.

    A recording that is damaged is named, and the others are imported; the exit status is then 5.
    """
    from virtio_trace.fleet import importer, lake, sources  # noqa: PLC0415 - libraries of an extra

    sources.check(paths)
    if sources.is_url(folder):
        raise UsageError(f"{folder}: a lake is a folder of this machine", "name a folder with -o")
    opened = lake.create(Path(folder))
    utc = None if when is None else when.replace(tzinfo=timezone.utc)  # noqa: UP017
    named = 0

    with Interrupts(), ProgressBar() as progress:

        def show(done: Imported) -> None:
            nonlocal named
            for line in done.damaged[named:]:
                warn(line)
            named = len(done.damaged)
            progress.stage("importing", f"{done.boots + done.known} recordings")

        progress.stage("importing")
        done = importer.import_recordings(opened, sources.find(paths, utc), jobs, show)
    click.echo(
        f"{folder}: {done.boots} imported, {done.known} already in it, {len(done.damaged)} damaged"
    )
    if done.damaged:
        raise BadInputError(
            f"{len(done.damaged)} of {done.boots + done.known + len(done.damaged)} recordings are"
            " damaged",
            "the warnings name them; the others are in the lake",
        )
    return 0
