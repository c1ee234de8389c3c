# SPDX-License-Identifier: GPL-2.0-or-later
"""The status line, on a real terminal and without one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from virtio_trace.cli.support.status import bar_of

_SCRIPT = """
import sys, time
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say
with ProgressBar() as progress:
    progress.stage("looking for the kernel")
    progress("fetching linux-image-6.1.0-56-cloud-amd64-with-a-name-as-long-as-a-line", 0.0)
    time.sleep(0.7)
    progress("fetching linux-image-6.1.0-56-cloud-amd64-with-a-name-as-long-as-a-line", 0.5)
    time.sleep(0.7)
    say("a line above")
    progress("fetching linux-image-6.1.0-56-cloud-amd64-with-a-name-as-long-as-a-line", 1.0)
    time.sleep(0.3)
    progress("soon", None)
print("done")
"""


def on_a_terminal(columns: int, term: str = "xterm") -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
        # readline, which pytest imports, sets COLUMNS behind os.environ's back.
        environment = {**os.environ, "TERM": term} | {"COLUMNS": ""}
        os.execve(sys.executable, [sys.executable, "-c", _SCRIPT], environment)
    text = b""
    while True:
        try:
            text += os.read(terminal, 1 << 16)
        except OSError:  # its other end is closed
            break
    assert os.waitpid(pid, 0)[1] == 0
    return text.decode()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_has_one_line_that_is_replaced(columns: int) -> None:
    text = on_a_terminal(columns)
    *moments, last = re.split(r"\r\x1b\[K", text)
    assert last == "done\r\n"
    above = next(one for one in moments if "a line above" in one)
    assert above == "virtio-trace: a line above\r\n"  # on a line of its own
    drawn = [one for one in moments if one and one != above]
    assert [one for one in drawn if len(one) >= columns or "\n" in one] == []
    assert any("[##########----------]  50%  1 s" in one for one in drawn)
    assert any("[--------------------]   0%" in one for one in drawn)
    assert drawn[-1] == "virtio-trace: looking for the kernel…"  # what the task was part of


def test_a_dumb_terminal_and_none_get_a_line_for_what_takes_long() -> None:
    lines = [
        "virtio-trace: fetching linux-image-6.1.0-56-cloud-amd64-with-a-name-as-long-as-a-line…",
        "virtio-trace: a line above",
    ]
    assert on_a_terminal(80, "dumb").splitlines() == [*lines, "done"]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == lines


def test_the_bar() -> None:
    assert bar_of(0.0) == "[--------------------]   0%"
    assert bar_of(0.999) == "[###################-]  99%"
    assert bar_of(7) == "[####################] 100%"
