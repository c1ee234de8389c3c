# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the commands that read write to: a pipe, a file, a terminal of a width, nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.unit.cli.reading import COMMANDS, Run, process
from tests.unit.surgery import GOLDEN


def test_standard_input(run: Run) -> None:
    done = process(
        "report", "-", input=(GOLDEN / "debian-6.1.vtr").read_text(), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("report", GOLDEN / "debian-6.1.vtr")[1]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_or_closed_output_is_one_line_and_status_3(command: tuple[str, ...]) -> None:
    path = GOLDEN / "debian-6.1.vtr"
    with Path("/dev/full").open("w") as full:
        done = process(*command, path, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 2
    shell = f'"$0" -m virtio_trace {" ".join(command)} {path} >&-'
    closed = subprocess.run(
        ["sh", "-c", shell, sys.executable], capture_output=True, text=True, check=False
    )
    assert closed.returncode == 3
    assert len(closed.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_closed_pipe_ends_a_command_silently(command: tuple[str, ...]) -> None:
    assert without_reader(*command, GOLDEN / "debian-6.1.vtr") == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_closed_pipe_ends_help_silently(option: str) -> None:
    assert without_reader(option) == (-signal.SIGPIPE, "")


def without_reader(*arguments: object) -> tuple[int, str]:
    """The exit status and standard error of a command if nobody reads its standard output."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = process(*arguments, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in ("graph", "report")])
def test_into_a_file(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    status, out, _ = run(*command, GOLDEN / "debian-6.1.vtr", "-o", tmp_path / "made")
    assert (status, out) == (0, "")
    assert (tmp_path / "made").read_text() == run(*command, GOLDEN / "debian-6.1.vtr")[1] != ""
    assert run(*command, GOLDEN / "debian-6.1.vtr", "-o", tmp_path / "no" / "made")[0] == 3


@pytest.mark.parametrize("command", ["graph", "report"])
def test_the_recording_is_not_overwritten(run: Run, failing: Path, command: str) -> None:
    before = failing.read_bytes()
    assert run(command, failing, "-o", failing)[0] == 2
    assert failing.read_bytes() == before


def test_a_pipe_gets_whole_lines(run: Run) -> None:
    """Like git and perf; COLUMNS is a wish."""
    path = GOLDEN / "debian-6.1-reasons.vtr"
    for command in ("report", "check", "script"):
        whole = process(command, path, capture_output=True).stdout
        assert max(map(len, whole.splitlines())) > 100
        assert whole == run(command, path)[1]
    narrow = subprocess.run(
        [sys.executable, "-m", "virtio_trace", "check", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    ).stdout
    assert 60 < max(map(len, narrow.splitlines())) <= 80


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", ["report", "check", "script"])
def test_a_terminal_of_a_width(command: str, columns: int) -> None:
    """On a real terminal, no line is broken by it, and each word is whole."""
    path = GOLDEN / "debian-6.1-failures.vtr"
    whole = {*process(command, path, capture_output=True).stdout.replace("|", "| ").split()}
    shown = _on_a_terminal([command, str(path)], columns)
    lines = [line for line in shown.splitlines() if "left out for want of room" not in line]
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.replace("|", "| ").split()}
    headings = {word for word in words if word.endswith("-") or f"-{word}" in " ".join(whole)}
    strange = {word for word in words - whole - headings if not word.isdigit()}
    assert not strange


@pytest.mark.parametrize("columns", [60, 80])
def test_messages_fit_a_terminal(columns: int) -> None:
    """doctor's reasons, errors and hints end at spaces; a command is whole, to be copied."""
    path = GOLDEN / "debian-6.1-failures.vtr"
    for arguments in (["doctor"], ["script", "--probe", "nowhere", str(path)]):
        shown = _on_a_terminal(arguments, columns)
        pipe = process(*arguments, capture_output=True)
        assert shown.split() == (pipe.stdout + pipe.stderr).split()
        lines = [line for line in shown.splitlines() if not re.search(" (--?[a-z]|/)", line)]
        assert max(map(len, lines)) <= columns
    assert len(shown.splitlines()) > len(pipe.stderr.splitlines())


def _on_a_terminal(arguments: list[str], columns: int) -> str:
    """What a command writes to a terminal of COLUMNS."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = ["env", "-u", "COLUMNS", "NO_COLOR=1", sys.executable, "-m", "virtio_trace"]
    with subprocess.Popen([*command, *arguments], stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while more := os.read(ours, 4096):
                said += more
        os.close(ours)
        running.wait(60)
    return said.decode().replace("\r\n", "\n")


def test_no_colour_without_a_terminal(run: Run, failing: Path) -> None:
    for command in COMMANDS:
        assert "\x1b" not in run(*command, failing)[1]


def test_any_locale(failing: Path) -> None:
    """A comm that the locale cannot write is escaped."""
    text = failing.read_text().replace('"modprobe"', '"\\u6a21\\u5757"')
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = process("script", "-", input=text, capture_output=True, env=environment)
    assert done.returncode == 0
    assert "\\u6a21\\u5757" in done.stdout
