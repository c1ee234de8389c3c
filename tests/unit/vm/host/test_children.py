# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that we run: they end with us, and within limits of time, output and space."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.host import apt, children, programs
from virtio_trace.vm.host.children import Child, Limits
from virtio_trace.vm.host.programs import ProgramLimitError, quiet

STUBBORN = 'trap "" TERM HUP INT; sleep 60 & sleep 60 & while :; do sleep 1; done'
"""A program that ignores SIGTERM, with children."""


def test_a_session_ends_when_the_block_is_left_by_an_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(children, "TERM_SECONDS", 0.3)
    with pytest.raises(KeyboardInterrupt), Child(["sh", "-c", STUBBORN]) as child:
        deadline = time.monotonic() + 10
        while len(list(children.session(child.pid))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list(children.session(child.pid))) >= 3
        raise KeyboardInterrupt
    assert list(children.session(child.pid)) == []


def test_what_a_program_leaves_behind_ends_too() -> None:
    with Child(["sh", "-c", "sleep 60 &"]) as child:
        child.wait()
    assert list(children.session(child.pid)) == []


def test_a_session_of_its_own() -> None:
    """mmdebstrap signals its whole process group when it fails."""
    done = programs.run(["sh", "-c", "kill -HUP 0; sleep 5"], "failing", check=False)
    assert done.returncode == -signal.SIGHUP


@pytest.mark.parametrize(
    ("script", "limits", "words"),
    [
        ("sleep 60", Limits(seconds=0.3), "it had not ended after 0.3 s"),
        ("exec >&- 2>&-; sleep 60", Limits(seconds=0.3), "it had not ended after 0.3 s"),
        ("sleep 60", Limits(stall=0.3), "it made no progress for 0.3 s"),
        ("yes", Limits(output=1 << 20), "it wrote more than 1 MiB"),
    ],
)
def test_limits(script: str, limits: Limits, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(ProgramLimitError, match=words):
        programs.run(["sh", "-c", script], "trying", limits=limits)
    assert time.monotonic() - began < 20


def test_a_program_that_fills_the_disk_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ROOM", 1 << 62)
    with pytest.raises(ProgramLimitError, match="no space is left in /"):
        programs.follow(
            ["sh", "-c", "sleep 60"], "trying", lambda _: True, limits=Limits(), folder=tmp_path
        )


def test_an_apt_that_tries_for_ever_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk it repeats its last status line."""
    fake = tmp_path / "bin" / "apt-get"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\nfd=${2#*=}\nexec 1>/proc/self/fd/$fd\n"
        "while :; do echo dlstatus:7:15.3828:Retrieving file 7 of 9; sleep 0.1; done\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(apt, "_LIMITS", Limits(stall=1))
    seen: list[float | None] = []
    with pytest.raises(ProgramLimitError, match="fetching: apt-get was ended: it made no progress"):
        apt.fetch(
            ["apt-get", "update"], "fetching", lambda _what, done: seen.append(done), tmp_path
        )
    assert seen == [0.0, 0.153828]


def test_a_program_that_is_missing_and_one_that_fails() -> None:
    with pytest.raises(CannotTraceError, match="no-such-program is not installed"):
        programs.run(["no-such-program"], "trying")
    with pytest.raises(CannotTraceError, match="trying: sh said: E: this is why"):
        programs.run(["sh", "-c", "echo E: this is why >&2; echo last >&2; exit 3"], "trying")


PARENT = """
import sys
from pathlib import Path
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.vm.host import cache, children, programs
children.TERM_SECONDS = 0.5
script = '''trap "" TERM HUP INT
(while :; do echo x >>"$PWD/grows" 2>/dev/null; sleep 0.01; done) & echo started >&2; wait'''
def line(text):
    print(text, flush=True)
    return True
with Interrupts(), cache.scratch("x") as scratch:
    print(scratch, flush=True)
    programs.follow(["sh", "-c", script], "x", line, limits=children.Limits(), folder=scratch)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_children_are_gone_before_their_folders(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert parent.stdout is not None
    scratch = Path(parent.stdout.readline().strip())
    assert parent.stdout.readline() == "started\n"
    assert users(scratch)
    parent.send_signal(number)
    parent.wait(20)
    parent.stdout.close()
    assert users(scratch) == []
    assert not scratch.exists()


def users(folder: Path) -> list[str]:
    """The processes whose current directory is FOLDER, removed or not."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(link.readlink()).startswith(str(folder)):
                found.append(link.parent.name)
        except OSError:
            continue
    return found


def test_progress_that_nobody_wants() -> None:
    quiet("x", 0.5)
