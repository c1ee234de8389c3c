#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints docs/commands.md: the commands as --help prints them. A test compares the file with it."""

from __future__ import annotations

import click

from virtio_trace.cli.main import cli

HEAD = """# The commands

As `virtio-trace COMMAND --help` prints them. `tools/commands.py` generates this file.

## Exit status

| status | means |
|---|---|
| 0 | done; the recording conforms |
| 1 | `check`, `boot`: the recording deviates |
| 2 | usage |
| 3 | this machine, or this kernel, cannot do it |
| 4 | incomplete: something was lost, could not be armed, ran out of time |
| 5 | bad input: a file is damaged or of another kind |

`check` and `boot` end with 0, 1 or 4 according to the verdict; `report`, `graph` and `script` with
0 if the file could be read. A command that is ended by a signal before it is done returns 128 plus
the signal's number (Ctrl-C: 130). A command whose reader closed the pipe (`| head`) is ended by
SIGPIPE, like other filters.
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
