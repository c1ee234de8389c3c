# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording, through everything that the commands print of it."""

from __future__ import annotations

import io

from tests.fuzz import mutations
from virtio_trace.check import verdict
from virtio_trace.check.coverage import lacks
from virtio_trace.check.profiles import PROFILES
from virtio_trace.cli.support.formats import ABOUT, BUILD, FORMATS, ORIGIN, VERBOSE, WIDTH
from virtio_trace.recording import reader
from virtio_trace.recording.source import Source
from virtio_trace.report.about import about
from virtio_trace.report.board import judge, parse, write
from virtio_trace.report.diff.compare import compare, outcomes
from virtio_trace.report.seen import seen
from virtio_trace.report.selection import Selection

LONGEST = 1 << 15
MUTATE = mutations.json_lines
WORDS = (
    b'"kind":"entry"', b'"kind":"return"', b'"kind":"hit"', b'"kind":"module"', b'"kind":"trailer"',
    b'"device":{"address":"', b'"bus":"pci"', b'"detail":{"status":', b'"result":-', b'"probe":"',
    b'"virtio_dev_probe"', b'"driver":"', b'"features":"0x', b'"final":null', b'"host":null',
)  # fmt: skip


_RENDERERS = {
    command: [(*row.load(), row) for row in rows if row.name != "png"]
    for command, rows in FORMATS.items()
}
"""Each renderer, what prepares its subject, and its row; png runs another program."""


def one(data: bytes) -> None:
    recording = reader.read(io.BytesIO(data), "fuzzed")
    lacks(recording)
    _show("script", Selection(recording), recording)
    for profile in PROFILES:
        _show("check", verdict.judge(recording, profile), recording)
    _expect(recording)
    _show("report", recording, recording)
    _show("graph", recording, recording)


def _expect(recording: Source) -> None:
    """It passes its own board, and is not different from itself."""
    shown = seen(recording)
    board = parse.parse(write.board_text(shown).encode(), "written")
    assert all(step.ok is not False for step in judge.judge(board, shown).steps)
    side = "fuzzed", shown, outcomes(verdict.judge(recording))
    found = compare(side, side)
    assert found.differences == []
    _show("diff", found, recording)


def _show(command: str, subject: object, source: Source) -> None:
    keywords = {
        WIDTH: 80, VERBOSE: True, ABOUT: about(source), ORIGIN: "fuzz", BUILD: None,
    }  # fmt: skip
    for render, prepare, row in _RENDERERS[command]:
        out: io.BytesIO | io.StringIO = io.BytesIO() if row.binary else io.StringIO()
        known = {name: keywords[name] for name in row.takes if name in keywords}
        render(prepare(subject), out, **known)
        shown = out.getvalue()
        if isinstance(shown, str):
            shown.encode()
