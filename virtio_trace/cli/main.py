# SPDX-License-Identifier: GPL-2.0-or-later
"""The entry point: runs a command, and turns every exception into a line, a hint and a status."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click

import virtio_trace
from virtio_trace.cli.support.help import Context
from virtio_trace.cli.support.sink import guarded_stdout
from virtio_trace.cli.support.topics import TOPICS
from virtio_trace.errors import VirtioTraceError
from virtio_trace.render.escape import escape

COMMANDS = {
    "boot": ("boot.command", "Boot a kernel in QEMU and record it from its first module on."),
    "check": ("check", "Check a recording against the procedure that Linux follows."),
    "cmdline": ("cmdline", "Print parameters that make a kernel record its own early boot."),
    "doctor": ("doctor", "Check whether this machine can trace, and say what is missing."),
    "graph": ("graph", "Draw which driver bound which device in a recording."),
    "help": ("help", "Explain a command or a topic."),
    "inspect": ("inspect", "Show every VirtIO driver and transport in a kernel's files."),
    "record": ("record", "Record what this kernel does with its VirtIO devices."),
    "report": ("report", "Show the devices, drivers and bindings of a recording."),
    "script": ("script", "Print the events of a recording in order, nested by call."),
}
"""Each command's module in cli/, which is imported when the command is run, and the first line of
its help, so that --help imports none of them."""

_STATUS_USAGE = 2
_STATUS_CANNOT = 3


class _ReaderGoneError(Exception):
    """A broken pipe, by a name that click does not turn into exit status 1."""


@contextlib.contextmanager
def _reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGoneError from error


class _Commands(click.Group):
    """Imports a command's module only when the command is used."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"virtio_trace.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        command.short_help = COMMANDS[cmd_name][1]  # else click cuts it, in completions
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])
        with formatter.section("Topics (virtio-trace help TOPIC)"):
            formatter.write_dl([(name, topic.summary) for name, topic in TOPICS.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _reader():  # --help and --version print here
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader():
            return super().invoke(ctx)


# Without a command, click 8.2 raises an error that has the whole help as its message.
@click.group(
    cls=_Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",  # the same in each version of click
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(virtio_trace.__version__, prog_name="virtio-trace")
@click.pass_context
def cli(context: click.Context) -> None:
    """Show what a Linux kernel does with its VirtIO devices, and whether it is right.

    record traces the running kernel, boot traces another one in QEMU. Both write a recording, which
    check, report, graph and script read, anywhere and without root.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with a status that docs/commands.md lists."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        with guarded_stdout():
            status: Any = cli.main(arguments, prog_name="virtio-trace", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        _say(error.format_message(), _usage_hint(error))
        return _STATUS_USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        _say("interrupted", "")
        return 128 + _signal_of(error)
    except VirtioTraceError as error:
        _say(str(error), error.hint)
        return error.status
    except (BrokenPipeError, _ReaderGoneError):
        return _die_of_sigpipe()
    except OSError as error:
        # Not from writing a result: cli.support.sink turns those into CannotTraceError.
        _say(f"{error.filename}: {error.strerror}" if error.filename else str(error), "")
        return _STATUS_CANNOT
    return status if isinstance(status, int) else 0


def _usage_hint(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see {context.command_path if context else 'virtio-trace'} --help"


def _signal_of(error: BaseException) -> int:
    """The number of the signal: cli.support.interrupts passes it; without one it was Ctrl-C."""
    # click raises Abort in its place. Until click 8.1.3 (Debian 12) Abort has no cause but a
    # context.
    raised = error.__context__ if isinstance(error, click.Abort) else error
    return int(raised.args[0]) if raised is not None and raised.args else signal.SIGINT


def _say(message: str, hint: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"virtio-trace: {escape(message)}", err=True)
        for line in hint.splitlines():
            click.echo(f"  {escape(line)}", err=True)


def _die_of_sigpipe() -> int:
    """End as other filters do when the reader of our output went away (``| head``)."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 128 + signal.SIGPIPE
