# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages on standard error fit a terminal, and are whole lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios

import pytest

from virtio_trace.cli.support.say import say

MESSAGE = "before the recording: 1 driver, 1 device; how they came up was not seen"


def test_a_terminal_gets_it_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("4H", 24, 60, 0, 0))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        say(MESSAGE)
        terminal.flush()
        text = os.read(reader, 4096).decode()
    os.close(reader)
    assert text == (
        "virtio-trace: before the recording: 1 driver, 1 device; how\r\n"
        "  they came up was not seen\r\n"
    )


def test_a_file_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    say(MESSAGE)
    assert out.getvalue() == f"virtio-trace: {MESSAGE}\n"
