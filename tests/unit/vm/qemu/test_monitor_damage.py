# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor that answers what QEMU would not; found by tests/fuzz."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.fuzz.harnesses import CORPUS
from virtio_trace.errors import CannotTraceError
from virtio_trace.recording.host_view import HostView
from virtio_trace.vm.qemu import host_view
from virtio_trace.vm.qemu.qmp import Monitor

SAID = (CORPUS / "qmp" / "two-devices").read_bytes()


_ENDS: list[socket.socket] = []
"""The other ends: they stay open, as QEMU's does, though nobody listens there."""


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _ENDS:
        _ENDS.pop().close()


def monitor(said: bytes) -> Monitor:
    ours, theirs = socket.socketpair()
    _ENDS.extend((ours, theirs))
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    return Monitor(ours)


def view(said: bytes) -> HostView:
    line = host_view.with_host(b'{"kind":"trailer"}\n', monitor(said), lambda reason: None)
    return HostView.from_json(json.loads(line)["host"])


def test_what_qemu_said() -> None:
    found = view(SAID)
    assert found.devices is not None and len(found.devices) == 2


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'"device-id":4', b'"device-id":-4'),
        (b'"device-id":4', b'"device-id":"4"'),
        (b'"vring-num":', b'"vring-num":1e9,"x":'),
        (b'"queue-index":0', b'"queue-index":null'),
    ],
)
def test_an_answer_that_no_recording_may_have(was: bytes, now: bytes) -> None:
    """The whole recording could not be read."""
    assert was in SAID
    found = view(SAID.replace(was, now))
    assert found.reason  # what was read before that is kept


@pytest.mark.parametrize("error", ['"text"', "null", "[]", '{"desc":null}'])
def test_an_error_of_another_shape(error: str) -> None:
    said = f'{{"QMP":{{}}}}\n{{"return":{{}}}}\n{{"error":{error}}}\n'
    with pytest.raises(CannotTraceError):
        monitor(said.encode()).command("query-version")


def test_an_answer_that_is_deeper_than_python_reads() -> None:
    deep = b"[" * 100_000 + b"\n"
    with pytest.raises(CannotTraceError):
        monitor(deep).command("query-version")
    line = b'{"kind":"trailer","x":' + deep
    assert host_view.with_host(line, monitor(b""), lambda reason: None) == line
