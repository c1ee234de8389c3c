# SPDX-License-Identifier: GPL-2.0-or-later
"""What --help looks like: lines break at spaces only, and examples come last."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.types import StringParamType

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_GLUE = "\u2011"
"""NON-BREAKING HYPHEN: a line does not break there."""


_PATHS = {
    **dict.fromkeys(("FILE", "[FILE]", "VMLINUZ", "DISK", "[MODULES-DIR | FILE.ko ...]"), "file"),
    **dict.fromkeys(("OLD", "NEW", "RECORDING", "PLAN", "PATH..."), "file"),
    **dict.fromkeys(("DIR", "[DIR ...]", "LAKE"), "dir"),
}
"""The metavars that stand for paths, and what a shell is to complete."""


class Example(NamedTuple):
    """A command line, and what it does: an imperative sentence without a full stop."""

    does: str
    line: str


class Formatter(click.HelpFormatter):
    """Breaks no word at its hyphen, such as virtio-trace.vtr or --no-boot-events."""

    def write_text(self, text: str) -> None:
        """Write TEXT, wrapped."""
        super().write_text(_glued(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **extra: Any) -> None:
        """Write ROWS in two columns: a term, and its description."""
        super().write_dl([(term, _glued(text)) for term, text in rows], *args, **extra)

    def getvalue(self) -> str:
        """All that was written."""
        return super().getvalue().replace(_GLUE, "-")


class Context(click.Context):
    """Writes help by our Formatter."""

    formatter_class = Formatter


class _Path(StringParamType):
    """A string that a shell completes as a path: KIND is file or dir."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave it to the shell."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 only completion needs it

        return [CompletionItem(incomplete, type=self._kind)]


class Command(click.Command):
    """A command with ``examples``, whose paths a shell completes."""

    context_class = Context

    def __init__(self, *args: Any, examples: tuple[Example, ...] = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = examples
        for param in self.params:
            kind = _PATHS.get(param.metavar or "")
            if kind and param.type is click.STRING:
                param.type = _Path(kind)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(self.examples, formatter)


class Group(Command, click.Group):
    """A command that has commands."""

    command_class = Command


def write_examples(examples: tuple[Example, ...], formatter: click.HelpFormatter) -> None:
    """Write EXAMPLES as a section; their command lines are not wrapped."""
    if not examples:
        return
    with formatter.section("Examples"):
        for example in examples:
            formatter.write_text(f"{example.does}:")
            with formatter.indentation():
                formatter.write(f"{'':>{formatter.current_indent}}{example.line}\n")


def _glued(text: str) -> str:
    return re.sub(r"(?<=\S)-(?=\S)", _GLUE, text)
