# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace fleet: many recordings."""

from __future__ import annotations

import click

from virtio_trace.cli.fleet.import_recordings import import_command
from virtio_trace.cli.fleet.sql import sql_command
from virtio_trace.cli.fleet.summary import summary_command
from virtio_trace.cli.support.help import Example, Group

_EXAMPLES = (
    Example("Import the recordings in a folder", "virtio-trace fleet import runs -o lake"),
    Example("Say what they have in common", "virtio-trace fleet summary lake"),
    Example("Count the boots", 'virtio-trace fleet sql lake "SELECT count(*) FROM boots"'),
)


@click.group(
    cls=Group,
    examples=_EXAMPLES,
    invoke_without_command=True,  # as virtio-trace itself, which see
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.pass_context
def command(context: click.Context) -> None:
    """Import many recordings, and ask what they have in common.

    A lake is a folder of Parquet files: rows of what report and check find in each recording.
    docs/fleet.md lists its tables and columns. The libraries that fleet needs are an extra.
    In a clone of virtio-trace: pip install '.[fleet]'.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _one in (import_command, sql_command, summary_command):
    command.add_command(_one)
