# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m tools.manpages FOLDER: writes a man page for each command and each topic.

They have the text of --help and of virtio-trace help TOPIC. The date is SOURCE_DATE_EPOCH's.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

import virtio_trace
from tools import troff
from virtio_trace.cli.main import COMMANDS, cli
from virtio_trace.cli.support.help import Command, Context, Example, Group
from virtio_trace.cli.support.topics import TOPICS, Topic

NAME = "virtio-trace"
_VERSION = f"{NAME} {virtio_trace.__version__}"


def pages(epoch: int) -> dict[str, str]:
    """File name to source of each page. EPOCH: their date, in seconds since 1970."""
    found = {f"{NAME}.1": top_page(epoch)}
    with Context(cli, info_name=NAME, **cli.context_settings) as top:
        for name in cli.list_commands(top):
            command = cli.get_command(top, name)
            assert isinstance(command, Command)
            with Context(command, info_name=name, parent=top) as context:
                found[f"{NAME}-{name}.1"] = command_page(command, context, epoch)
                found |= _inner_pages(command, context, epoch)
    for name, topic in TOPICS.items():
        found[f"{NAME}-{name}.7"] = topic_page(name, topic, epoch)
    return found


def _inner_pages(command: Command, outer: click.Context, epoch: int) -> dict[str, str]:
    """The pages of the commands that COMMAND has."""
    found = {}
    for name, inner in command.commands.items() if isinstance(command, Group) else ():
        assert isinstance(inner, Command)
        with Context(inner, info_name=name, parent=outer) as context:
            file = f"{context.command_path.replace(' ', '-')}.1"
            found[file] = command_page(inner, context, epoch)
    return found


def command_page(command: Command, context: click.Context, epoch: int) -> str:
    """The page of COMMAND."""
    name = context.command_path.replace(" ", "-")
    summary, *text = (command.help or "").split("\n\n")
    parts = [_head(name, 1, epoch, summary), _synopsis(command, context), *_description(text)]
    parts.append(_options(command, context))
    inner = command.commands if isinstance(command, Group) else {}
    if inner:
        parts.append(troff.section("Commands"))
        parts += [troff.entry(f"{name}-{one}(1)", c.short_help or "") for one, c in inner.items()]
    parts.append(_examples(command.examples))
    also = [(f"{name}-{one}", 1) for one in inner]
    parts.append(_see_also([(NAME, 1), *also, (f"{NAME}-exit-status", 7)]))
    return "".join(parts)


def top_page(epoch: int) -> str:
    """The page of virtio-trace itself: commands and topics."""
    summary, *text = (cli.help or "").split("\n\n")
    with Context(cli, info_name=NAME, **cli.context_settings) as context:
        parts = [
            _head(NAME, 1, epoch, summary),
            _synopsis(cli, context),
            *_description(text),
            troff.section("Commands"),
            *(troff.entry(f"{NAME}-{name}(1)", COMMANDS[name][1]) for name in sorted(COMMANDS)),
            troff.section("Topics"),
            *(troff.entry(f"{NAME}-{name}(7)", topic.summary) for name, topic in TOPICS.items()),
            _options(cli, context),
        ]
    every = [(f"{NAME}-{name}", 1) for name in COMMANDS] + [(f"{NAME}-{n}", 7) for n in TOPICS]
    return "".join([*parts, _see_also(sorted(every))])


def topic_page(name: str, topic: Topic, epoch: int) -> str:
    """The page of a topic, in section 7."""
    parts = [_head(f"{NAME}-{name}", 7, epoch, topic.summary), troff.section("Description")]
    for block in topic.blocks:
        if isinstance(block, str):
            parts.append(troff.paragraph(block))
        else:
            parts += [troff.entry(term, text) for term, text in block]
    return "".join([*parts, _see_also([(NAME, 1)])])


def _head(name: str, section: int, epoch: int, summary: str) -> str:
    """A page's NAME has its summary as one sentence without a full stop (whatis(1))."""
    text = " ".join(summary.split()).rstrip(".")
    return troff.head(name, section, epoch, _VERSION, text[:1].lower() + text[1:])


def _synopsis(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    line = f".B {troff.quote(context.command_path)}\n{troff.escape(usage)}\n"
    return troff.section("Synopsis") + line


def _description(paragraphs: list[str]) -> list[str]:
    return [troff.section("Description"), *map(troff.paragraph, paragraphs)] if paragraphs else []


def _options(command: click.Command, context: click.Context) -> str:
    found = [param.get_help_record(context) for param in command.get_params(context)]
    return troff.section("Options") + "".join(troff.entry(*one) for one in found if one and one[1])


def _examples(examples: tuple[Example, ...]) -> str:
    parts = "".join(troff.example(one.does, one.line) for one in examples)
    return troff.section("Examples") + parts if parts else ""


def _see_also(pages_: list[tuple[str, int]]) -> str:
    """References to other PAGES_, by name and section."""
    lines = [f".BR {troff.quote(name)} ({section})" for name, section in pages_]
    return troff.section("See also") + " ,\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write the pages into FOLDER."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(epoch).items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
