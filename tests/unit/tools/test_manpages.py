# SPDX-License-Identifier: GPL-2.0-or-later
"""Man pages, as groff and man-db read them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from tools import completions, manpages, troff
from virtio_trace.cli.main import COMMANDS, cli
from virtio_trace.cli.support.help import Command, Context, Example
from virtio_trace.cli.support.topics import TOPICS

EPOCH = 1_700_000_000  # 2023-11-14
PAGES = manpages.pages(EPOCH)


def rendered(source: str) -> str:
    """What a reader sees. Fails if groff warns."""
    command = ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-rLL=200n", "-P-cbou"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    assert not done.stderr
    return squeezed(done.stdout)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("text", [
    "plain", ".so /etc/passwd", "'br", "a\n.b\n'c", r"\fBbold\fP \n", "--no-boot-events", "a\\",
    "`^~'\"", ".", "|head", "° ä",
])  # fmt: skip
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    page = troff.head("x", 1, EPOCH, "v", "y") + troff.section("S") + troff.paragraph("A")
    shown = rendered(page + ".nf\n" + troff.escape(text) + "\n.fi\n")
    assert f"A {squeezed(text)} v" in shown


def test_a_quoted_argument_is_one_argument() -> None:
    shown = rendered(troff.head("x", 1, EPOCH, "v", "y") + troff.entry('a "b" .c \\d', "text"))
    assert 'a "b" .c \\d text' in shown


def test_a_page_is_made_of_a_click_command() -> None:
    @click.command(cls=Command, examples=(Example("Run it", "virtio-trace tool -n 1 .x"),))
    @click.option("-n", "--number", metavar="N", help="A number - or not.")
    @click.option("--secret", hidden=True)
    def tool() -> None:
        """Do one thing.

        It does no other.
        .Not a request.
        """

    assert isinstance(tool, Command)  # click 8.1's annotations call it any click command
    with Context(cli, info_name="virtio-trace") as top:
        page = manpages.command_page(tool, Context(tool, info_name="tool", parent=top), EPOCH)
    shown = rendered(page)
    for text in (
        "NAME virtio-trace-tool - do one thing SYNOPSIS virtio-trace tool [OPTIONS] DESCRIPTION",
        "It does no other. .Not a request. OPTIONS -n, --number N A number - or not.",
        "EXAMPLES Run it: virtio-trace tool -n 1 .x SEE ALSO virtio-trace(1)",
        "2023-11-14",
    ):
        assert text in shown
    assert "secret" not in shown


def test_each_command_and_topic_has_a_page() -> None:
    commands = {f"virtio-trace-{name}.1" for name in COMMANDS}
    commands |= {f"virtio-trace-fleet-{name}.1" for name in ("import", "sql", "summary")}
    topics = {f"virtio-trace-{name}.7" for name in TOPICS}
    assert PAGES.keys() == {"virtio-trace.1"} | commands | topics


@pytest.mark.parametrize("name", PAGES)
def test_each_page_can_be_read_and_found(name: str, tmp_path: Path) -> None:
    rendered(PAGES[name])
    (tmp_path / name).write_text(PAGES[name], "utf-8")
    done = subprocess.run(["lexgrog", tmp_path / name], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f'{tmp_path / name}: "{name[:-2]} - ')
    for other, section in re.findall(r'^\.BR "(\S+)" \((\d)\)', PAGES[name], re.MULTILINE):
        assert f"{other}.{section}".replace("\\-", "-") in PAGES


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_option_and_example(name: str) -> None:
    shown = rendered(PAGES[f"virtio-trace-{name}.1"])
    command = cli.get_command(Context(cli), name)
    assert isinstance(command, Command)
    for example in command.examples:
        assert example.line in shown
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            assert all(option in shown for option in param.opts)
            assert squeezed(param.help or "") in shown


def test_the_same_date_gives_the_same_pages() -> None:
    assert manpages.pages(EPOCH) == PAGES
    assert manpages.pages(0)["virtio-trace.1"].count("1970") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_written_for_each_shell(shell: str, tmp_path: Path) -> None:
    completions.main(tmp_path)
    (path,) = (tmp_path / shell).iterdir()
    text = path.read_text("utf-8")
    assert f"_VIRTIO_TRACE_COMPLETE={shell}_complete" in text
    if shell == "bash":
        subprocess.run(["bash", "-n", path], check=True)
