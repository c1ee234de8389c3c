# SPDX-License-Identifier: GPL-2.0-or-later
"""A board in TOML, and a recording held to it. Every key that tomllib finds has its line."""

from __future__ import annotations

import tomllib
from functools import cache

from tests.fuzz.harnesses import CORPUS
from virtio_trace.errors import BadInputError
from virtio_trace.recording import reader
from virtio_trace.report.board import judge, parse
from virtio_trace.report.board.lines import line_of, lines_of
from virtio_trace.report.seen import Seen, seen

WORDS = (
    b"[board]\n", b"[[device]]\n", b"address = ", b"type = ", b"count = ", b"driver = ",
    b"transport = ", b"state = ", b"features = [", b"without = [", b"queues = ", b"vectors = ",
    b"probe_ms = ", b"optional = true\n", b"only = true\n", b"kernel = ", b'"""', b"'''", b'"',
    b"# ", b"inf", b"nan", b"99999999999", b'"id-4"', b"[device.x]\n", b'"net"', b"{", b"}", b"]",
)  # fmt: skip


def one(data: bytes) -> None:
    _lines(data)
    board = parse.parse(data, "fuzzed.toml")
    judge.judge(board, _seen())


def _lines(data: bytes) -> None:
    try:
        text = data.decode().replace("\r\n", "\n")
        top = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    found = lines_of(text)
    last = text.count("\n") + 1
    assert all(1 <= line <= last for line in found.values())
    for key in top:
        assert line_of(found, (key,)) >= 1
    keys = {str(path[0]) for path in found}
    assert keys == {*top}, "each key at the top has a line, and no other"


@cache
def _seen() -> Seen:
    """What one of the recordings in the corpus shows."""
    for path in sorted((CORPUS / "recording").iterdir()):
        try:
            with path.open("rb") as lines:
                found = seen(reader.read(lines, path.name))
        except BadInputError:
            continue
        if found.devices:
            return found
    raise AssertionError("no recording in the corpus has a device")
