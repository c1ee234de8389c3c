# SPDX-License-Identifier: GPL-2.0-or-later
"""--help, virtio-trace help, and completion in a shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from virtio_trace.cli.main import COMMANDS, cli, run
from virtio_trace.cli.support.help import Command, Context
from virtio_trace.cli.support.topics import TOPICS

TOP = Path(__file__).resolve().parents[3]


NAMES = [*COMMANDS, "fleet import", "fleet sql", "fleet summary"]


def command(name: str) -> Command:
    name, _, inner = name.partition(" ")
    found = cli.get_command(Context(cli), name)
    if inner:
        assert isinstance(found, click.Group)
        found = found.commands[inner]
    assert isinstance(found, Command)
    return found


def help_of(name: str, width: int = 80) -> str:
    with Context(cli, info_name="virtio-trace") as top:
        context = Context(command(name), info_name=name, parent=top, terminal_width=width)
        return command(name).get_help(context)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_fits_80_columns_and_ends_with_examples(name: str) -> None:
    text = help_of(name)
    assert max(map(len, text.splitlines())) <= 80
    _, _, examples = text.partition("\nExamples:\n")
    assert "virtio-trace" in examples


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_command_lines_that_are_accepted(name: str) -> None:
    for example in command(name).examples:
        words = shlex.split(example.line.replace("sudo sh -c ", "").strip("'").split(">")[0])
        words = words[words.index("virtio-trace") + 1 :]
        depth = len(name.split())
        assert " ".join(words[:depth]) == name
        # Parses, and so raises on an unknown option or a wrong value; runs nothing.
        command(name).make_context(name, words[depth:], parent=Context(cli))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_ends_within_a_word(width: int) -> None:
    for name in NAMES:
        assert not re.findall(r"\w-$", help_of(name, width), re.MULTILINE)


def test_without_arguments_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "\nCommands:\n  board " in capsys.readouterr().out
    assert run(["fleet"]) == 0
    assert "\nCommands:\n  import " in capsys.readouterr().out


def test_help_of_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "record"]) == 0
    mine = capsys.readouterr().out
    assert run(["record", "--help"]) == 0
    assert mine == capsys.readouterr().out
    assert mine.startswith("Usage: virtio-trace record ")
    assert run(["help", "fleet", "import"]) == 0
    assert capsys.readouterr().out.startswith("Usage: virtio-trace fleet import ")


@pytest.mark.parametrize("words", ["fleet imprt", "record files", "files record"])
def test_help_of_an_unknown_command_of_a_command(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["help", *words.split()]) == 2
    assert f"help has no topic {words}\n" in capsys.readouterr().err


def test_help_alone_lists_commands_and_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help"]) == 0
    listed = set(re.findall(r"^  ([\w-]+) ", capsys.readouterr().out, re.MULTILINE))
    assert listed >= COMMANDS.keys() | TOPICS.keys()


@pytest.mark.parametrize("name", TOPICS)
def test_help_of_a_topic(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(TOPICS[name].summary)
    for block in TOPICS[name].blocks:
        words = block if isinstance(block, str) else " ".join(f"{a} {b}" for a, b in block)
        assert set(words.split()) <= set(text.split())


def test_the_requirements_of_every_command_are_listed() -> None:
    (rows,) = TOPICS["requirements"].blocks
    assert not isinstance(rows, str)
    named = {word.strip(",") for term, _ in rows for word in str(term).split()}
    assert COMMANDS.keys() - {"doctor", "help"} <= named


@pytest.mark.parametrize("name", ["diff", "matrix", "fleet import", "board"])
def test_the_exit_status_of_a_command_is_explained(name: str) -> None:
    text = " ".join(map(str, TOPICS["exit-status"].blocks))
    assert re.search(rf"\b{name}\b", text)


def test_help_of_something_unknown_names_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "exit"]) == 2
    assert "  there are: board, boot, check" in capsys.readouterr().err
    assert run(["help", "reprot"]) == 2
    assert capsys.readouterr().err.endswith("\n  did you mean report?\n")


def complete(*words: str) -> list[tuple[str, str]]:
    """What fish is told to offer for WORDS, the last of which is incomplete: kind, value."""
    told = {
        "_VIRTIO_TRACE_COMPLETE": "fish_complete",
        "COMP_WORDS": shlex.join(["virtio-trace", *filter(None, words)]),
        "COMP_CWORD": words[-1],
    }
    done = subprocess.run(
        [sys.executable, "-m", "virtio_trace"], capture_output=True, text=True, check=False,
        env={**os.environ, **told}, cwd=TOP,
    )  # fmt: skip
    assert not done.stderr
    plain = [line.split("\t")[0] for line in done.stdout.splitlines() if "," in line]
    return [(kind, value) for kind, _, value in (line.partition(",") for line in plain)]


def test_a_shell_completes_commands_options_and_topics() -> None:
    assert complete("rec") == [("plain", "record")]
    assert complete("help", "exi") == [("plain", "exit-status")]
    assert complete("help", "gra") == [("plain", "graph")]
    assert ("plain", "--rebind") in complete("record", "--r")
    assert complete("check", "--profile", "s") == [("plain", "spec")]


def test_a_shell_completes_paths() -> None:
    assert complete("report", "vir") == [("file", "vir")]
    assert complete("record", "-o", "") == [("file", "")]
    assert complete("boot", "--modules", "li") == [("dir", "li")]
    assert complete("matrix", "pl") == [("file", "pl")]
    assert complete("fleet", "sql", "la") == [("dir", "la")]


def test_completion_offers_whole_descriptions() -> None:
    for name, (_, text) in COMMANDS.items():
        assert command(name).get_short_help_str() == text


def test_every_path_is_known_as_one() -> None:
    """A new option with a path needs a metavar in help._PATHS."""
    words = ("FILE", "DIR", "VMLINUZ", "DISK", "PLAN", "PATH...", "LAKE", "[DIR")
    for name in NAMES:
        for param in command(name).params:
            if param.metavar and any(word in param.metavar.split() for word in words):
                assert param.type is not click.STRING, f"{name}: {param.name}"
