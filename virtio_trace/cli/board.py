# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace board: writes a board from a recording."""

from __future__ import annotations

import click

from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS
from virtio_trace.cli.support import reading
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.options import file_argument
from virtio_trace.cli.support.results import result_output
from virtio_trace.cli.support.say import warn
from virtio_trace.report.board.write import board_text
from virtio_trace.report.seen import seen

_EXAMPLES = (
    Example("Write down what a good boot has", "virtio-trace board -o machine.toml good.vtr"),
    Example("Print a board of virtio-trace.vtr", "virtio-trace board"),
)


@click.command(cls=Command, examples=_EXAMPLES)
@file_argument
@click.option("-o", "--output", metavar="FILE", default="-", help="Write to FILE.")
def command(*, file: str, output: str) -> int:
    """Write a board, the devices to expect, from a good recording.

    A board is a TOML file with the VirtIO devices that a machine is expected to have; check --board
    and boot --board hold a recording to it. The recording passes its own board. FILE defaults to
    virtio-trace.vtr; - is standard input.
    """
    with reading.opened(file) as recording:
        result = verdict.judge(recording)
        shown = seen(recording)
    if result.verdict != CONFORMS:
        warn(f"the recording's verdict is {result.verdict}: the board has what was seen")
    with result_output(output, file) as out:
        out.write(board_text(shown))
    return 0
