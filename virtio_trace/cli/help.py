# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace help: what a command does, or a topic of several commands."""

from __future__ import annotations

import difflib

import click
from click.shell_completion import CompletionItem

from virtio_trace.cli.support.help import Command, Context, Example
from virtio_trace.cli.support.topics import TOPICS, write_topic
from virtio_trace.errors import UsageError


def _complete(
    context: click.Context, _argument: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For completion in a shell: commands and topics."""
    return [
        CompletionItem(name, help=text)
        for name, text in _choices(context).items()
        if name.startswith(incomplete)
    ]


@click.command(
    cls=Command,
    examples=(
        Example("Say what record does, and its options", "virtio-trace help record"),
        Example("Say what the exit status means", "virtio-trace help exit-status"),
        Example("Say what a command of fleet does", "virtio-trace help fleet import"),
    ),
)
@click.argument("topic", metavar="[TOPIC]", nargs=-1, shell_complete=_complete)
@click.pass_context
def command(context: click.Context, topic: tuple[str, ...]) -> int:
    """Explain a command or a topic.

    TOPIC is the name of a command, whose --help is printed, or a topic that several commands have
    in common. Without TOPIC, commands and topics are listed. If virtio-trace was installed from its
    Debian package, man virtio-trace and man virtio-trace-TOPIC have the same text.
    """
    click.echo(_text(context, topic))
    return 0


def _text(context: click.Context, words: tuple[str, ...]) -> str:
    """The help of a topic, or of the command that WORDS name: fleet, or fleet import."""
    if len(words) == 1 and words[0] in TOPICS:
        formatter = context.make_formatter()
        write_topic(TOPICS[words[0]], formatter)
        return formatter.getvalue().rstrip("\n")
    found = context.find_root()
    for word in words:
        group = found.command
        inner = group.get_command(found, word) if isinstance(group, click.Group) else None
        if inner is None:
            raise _unknown(context, " ".join(words))
        found = Context(inner, info_name=word, parent=found)
    return found.get_help()


def _choices(context: click.Context) -> dict[str, str]:
    """The name and the first line of each command and topic."""
    top = context.find_root()
    group = top.command
    assert isinstance(group, click.Group)
    found = {name: topic.summary for name, topic in TOPICS.items()}
    for name in group.list_commands(top):
        one = group.get_command(top, name)
        found[name] = one.get_short_help_str() if one is not None else ""
    return dict(sorted(found.items()))


def _unknown(context: click.Context, topic: str) -> UsageError:
    names = list(_choices(context))
    near = difflib.get_close_matches(topic, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
    return UsageError(f"help has no topic {topic}", hint)
