# SPDX-License-Identifier: GPL-2.0-or-later
"""How the command starts: the list of commands imports none of them, Ctrl-C prints no traceback."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.cli.main import COMMANDS, cli

_SIGINT_BIT = 1 << (signal.SIGINT - 1)
_STARTS = 60
_LAST_DELAY_S = 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_line_of_each_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    first, *_ = inspect.cleandoc(command.help or "").splitlines()
    assert COMMANDS[name][1] == first


def test_the_list_of_commands_fits_80_columns() -> None:
    help_ = cli.get_help(click.Context(cli, terminal_width=80))
    _, _, after = help_.partition("Commands:\n")
    lines = after.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == sorted(COMMANDS)


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from virtio_trace.cli.main import run; run(['--help']);"
        "print(*(m for m in sys.modules if m.startswith('virtio_trace.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stderr.split())
    assert imported >= {"virtio_trace.cli.main"}
    assert not imported & {f"virtio_trace.cli.{module}" for module, _ in COMMANDS.values()}
    assert not {name for name in imported if name.startswith("virtio_trace.check")}


def _interrupt(child: subprocess.Popen[str]) -> None:
    """Send SIGINT, but not while Python's own handler is installed: the interpreter is starting
    then, and none of our code has run yet. The child is stopped while we look."""
    while True:
        os.kill(child.pid, signal.SIGSTOP)
        found = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code != os.CLD_STOPPED:
            return  # it has ended
        status = Path(f"/proc/{child.pid}/status").read_text()
        (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
        ours = not int(caught, 16) & _SIGINT_BIT
        if ours:
            os.kill(child.pid, signal.SIGINT)
        os.kill(child.pid, signal.SIGCONT)
        if ours:
            return
        time.sleep(0.001)


@pytest.fixture
def sigint_is_not_ignored() -> Iterator[None]:
    """As it is in a background job of a shell, whose children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_is_not_ignored")
@pytest.mark.parametrize("arguments", [["--help"], ["report", str(GOLDEN / "debian-6.1.vtr")]])
def test_an_interrupt_at_any_moment_prints_no_traceback(arguments: list[str]) -> None:
    """From the first moment at which our code runs."""
    statuses = set()
    for n in range(_STARTS):
        child = subprocess.Popen(
            [sys.executable, "-m", "virtio_trace", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(_LAST_DELAY_S * n / _STARTS)
        _interrupt(child)
        _, err = child.communicate(timeout=60)
        assert err == ""
        statuses.add(child.returncode)
    assert -signal.SIGINT in statuses
    assert statuses <= {-signal.SIGINT, 0}
