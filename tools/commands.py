#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints docs/commands.md from the output of --help. A test holds the file to it."""

from __future__ import annotations

import click

from virtio_trace.cli.main import cli

HEAD = """# The commands

What `virtio-trace COMMAND --help` prints. `tools/commands.py` generates this file.

## Exit status

| status | means |
|---|---|
| 0 | done; the recording conforms |
| 1 | `check`, `boot`: the recording deviates |
| 2 | invalid usage |
| 3 | this machine or kernel cannot do it, or the output cannot be written |
| 4 | incomplete: events were lost, probes not armed, time ran out, or the disk is full |
| 5 | bad input: a file is damaged, or of another kind |

The verdict of `check` and `boot` is 0, 1 or 4. `report`, `graph` and `script` end with 0 if the
file can be read. `record -- COMMAND` ends with COMMAND's own status if that is not 0. In a shell, a
command that is ended by a signal has status 128 plus the signal's number (Ctrl-C: 130). If nobody
reads the output any more (`| head`), SIGPIPE ends the command, as it does other filters.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    with click.Context(cli, info_name="virtio-trace", terminal_width=80) as top:
        parts.append(_section("virtio-trace", cli.get_help(top)))
        for name in cli.list_commands(top):
            command = cli.get_command(top, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=top, terminal_width=80) as context:
                parts.append(_section(f"virtio-trace {name}", command.get_help(context)))
    return "\n".join(parts)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```\n{text}\n```\n"


if __name__ == "__main__":
    click.echo(page(), nl=False)
