#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints docs/commands.md from the output of --help. A test holds the file to it."""

from __future__ import annotations

import textwrap

import click

from virtio_trace.cli.main import cli
from virtio_trace.cli.support.help import Context
from virtio_trace.cli.support.topics import TOPICS, Topic

HEAD = """# The commands

What `virtio-trace help TOPIC` and `virtio-trace COMMAND --help` print. `tools/commands.py`
generates this file.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    parts += [_topic(name, topic) for name, topic in TOPICS.items()]
    with Context(cli, info_name="virtio-trace", terminal_width=80, **cli.context_settings) as top:
        parts.append(_section("virtio-trace", cli.get_help(top)))
        for name in cli.list_commands(top):
            command = cli.get_command(top, name)
            assert command is not None
            with Context(command, info_name=name, parent=top, terminal_width=80) as context:
                parts.append(_section(f"virtio-trace {name}", command.get_help(context)))
                parts += _inner(command, context)
    return "\n".join(parts)


def _inner(command: click.Command, outer: click.Context) -> list[str]:
    """The sections of the commands that COMMAND has."""
    parts = []
    for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
        with Context(inner, info_name=name, parent=outer, terminal_width=80) as context:
            parts.append(_section(context.command_path, inner.get_help(context)))
    return parts


def _topic(name: str, topic: Topic) -> str:
    blocks = [f"## {name.replace('-', ' ').capitalize()}"]
    for block in topic.blocks:
        if isinstance(block, str):
            blocks.append(textwrap.fill(block, 100, break_on_hyphens=False))
        else:
            rows = [f"| {term} | {text} |" for term, text in block]
            blocks.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(blocks) + "\n"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```\n{text}\n```\n"


if __name__ == "__main__":
    click.echo(page(), nl=False)
