# SPDX-License-Identifier: GPL-2.0-or-later
"""How whoever started a recorder learns that it is armed; tests/vm/test_watch.py has real ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from virtio_trace.cli.support.follow import End
from virtio_trace.cli.support.ready import Ready
from virtio_trace.errors import UsageError
from virtio_trace.recording.machine_state import EndState
from virtio_trace.tracer.session.armed import Aftermath


def test_a_newline_and_the_end_of_the_pipe() -> None:
    reader, writer = os.pipe()
    ready = Ready(writer)
    ready.armed("armed: 5")
    ready.armed("again")  # once only
    assert os.read(reader, 10) == b"\n"
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_only_a_descriptor_for_writing() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    for number in (reader, writer):
        with pytest.raises(UsageError, match=f"--ready-fd {number}: "):
            Ready(number)
    os.close(reader)


def test_a_reader_that_is_gone_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    ready = Ready(writer)
    os.close(reader)
    ready.armed("armed")
    os.close(writer)
    assert f"warning: --ready-fd {writer}: Broken pipe" in capsys.readouterr().err


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    address = f"@virtio-trace/{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0{address[1:]}" if abstract else address)
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        ready = Ready(None)
        assert "NOTIFY_SOCKET" not in os.environ
        ready.armed("armed: 5 probe points")
        ready.stopping()
        assert server.recv(100) == b"READY=1\nSTATUS=armed: 5 probe points\n"
        assert server.recv(100) == b"STOPPING=1\n"


def test_a_socket_that_nobody_has_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for address, said in (("/nowhere/x", "No such file"), ("@nobody", "Connection refused"),
                          ("/" + 200 * "x", "too long")):  # fmt: skip
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        Ready(None).armed("armed")
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("why", "command", "own"),
    [
        ("command", None, 0), ("command", 0, 0), ("command", 7, 7), ("command", 137, 137),
        ("command", 143, 143), ("duration", 143, 0), ("interrupt", 130, 0), ("interrupt", 129, 0),
        ("interrupt", 3, 3), ("duration", 139, 139), ("rebind", None, 0),
    ],
)  # fmt: skip
def test_the_commands_own_status(why: str, command: int | None, own: int) -> None:
    """A COMMAND that we or the terminal ended has none of its own."""
    aftermath = Aftermath(EndState({}), 0, None, ())
    assert End(why, command, 0, [], aftermath, []).own_status == own
