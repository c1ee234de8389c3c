# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace fleet sql."""

from __future__ import annotations

from pathlib import Path

import click

from virtio_trace.cli.support import formats, options, results
from virtio_trace.cli.support.help import Command, Example

_EXAMPLES = (
    Example(
        "Say where each boot comes from",
        'virtio-trace fleet sql lake "SELECT source, verdict FROM boots"',
    ),
    Example("List the columns of a table", 'virtio-trace fleet sql lake "DESCRIBE devices"'),
)


@click.command("sql", cls=Command, examples=_EXAMPLES, short_help="Run a SELECT over a lake.")
@click.argument("lake", metavar="LAKE")
@click.argument("query")
@options.output_options("fleet sql", file=True)
def sql_command(*, lake: str, query: str, row: formats.Format, output: str) -> int:
    """Run a SELECT over a lake.

    QUERY is in the SQL of DuckDB. Its tables are boots, devices, bindings, steps, findings,
    features, queues and phases. It can read these and nothing else: no other file, no network, no
    extension, no setting. It cannot write. json is JSON Lines.
    """
    from virtio_trace.fleet import sql  # noqa: PLC0415 - a library of an extra
    from virtio_trace.fleet.lake import open_lake  # noqa: PLC0415 - as above

    with sql.ask(open_lake(Path(lake)), query) as answer:
        results.show(row, answer, file=output)
    return 0
