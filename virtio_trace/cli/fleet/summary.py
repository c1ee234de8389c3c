# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace fleet summary."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from virtio_trace.cli.support import formats, options, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError

_EXAMPLES = (
    Example("Summarize all boots", "virtio-trace fleet summary lake"),
    Example(
        "Compare kernel 6.12.117 and later ones with those before",
        "virtio-trace fleet summary lake --since-kernel 6.12.117",
    ),
)


@click.command(
    "summary", cls=Command, examples=_EXAMPLES, short_help="Summarize the boots in a lake."
)
@click.argument("lake", metavar="LAKE")
@click.option(
    "--since",
    metavar="YYYY-MM-DD",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Also say what became worse from this date on.",
)
@click.option(
    "--since-kernel",
    metavar="RELEASE",
    help="Also say what became worse with this kernel.",
)
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Rows of each ranking.",
)
@click.option(
    "--spark",
    metavar="MASTER",
    help="Ask Spark instead of DuckDB; local[2] is this machine.",
)
@options.output_options("fleet summary", file=True)
def summary_command(
    *,
    lake: str,
    since: datetime | None,
    since_kernel: str | None,
    top: int,
    spark: str | None,
    row: formats.Format,
    output: str,
) -> int:
    """Summarize the boots in a lake.

    It has the verdicts by kernel and by type of device; the steps that fail and the reasons, by how
    many boots have them; the features that differ between kernels; quantiles of the time in each
    phase, and outliers. docs/fleet.md explains each figure.
    """
    from virtio_trace.fleet import engine, summary, worse  # noqa: PLC0415 - libraries of an extra
    from virtio_trace.fleet.lake import open_lake  # noqa: PLC0415 - as above

    if since is not None and since_kernel is not None:
        raise UsageError("--since and --since-kernel exclude each other", "give one of them")
    opened = open_lake(Path(lake))
    tables = engine.spark_tables(opened, spark) if spark else engine.duckdb_tables(opened)
    asked = None
    if since is not None or since_kernel is not None:
        asked = worse.Since(since.date() if since else None, since_kernel)
    results.show(row, summary.summarize(tables, top, asked), file=output)
    return 0
