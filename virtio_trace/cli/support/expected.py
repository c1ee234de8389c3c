# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check is held to beyond the procedure: --board, --baseline, --strict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from virtio_trace.cli.support import reading
from virtio_trace.errors import BadInputError, UsageError

if TYPE_CHECKING:
    from virtio_trace.check.findings import Result
    from virtio_trace.recording.source import Source
    from virtio_trace.report.board.model import Board
    from virtio_trace.report.diff.compare import Outcomes
    from virtio_trace.report.seen import Seen

_Command = TypeVar("_Command", bound=Callable[..., Any])

_CALLED = ("the baseline", "this recording")

Shown = tuple[str, "Seen", "Outcomes"]
"""A recording's name, what it shows, and how its steps came out."""


def time_ratio_option(function: _Command) -> _Command:
    """--time-ratio; the function gets ``time_ratio``."""
    return click.option(
        "--time-ratio",
        type=click.FloatRange(min=1),
        metavar="R",
        help="A phase that takes more than R times as long is a difference.",
    )(function)


def board_options(function: _Command) -> _Command:
    """--board and --strict; the function gets ``board``, ``strict``."""
    function = click.option("--strict", is_flag=True, help="A warning deviates, too.")(function)
    return click.option(
        "--board", metavar="FILE", help="Also hold it to this board: the devices expected."
    )(function)


@dataclass(frozen=True, slots=True)
class Expected:
    """What was asked for. ``baseline`` is the recording to compare with."""

    board: Board | None = None
    strict: bool = False
    baseline: Shown | None = None
    time_ratio: float | None = None

    def apply(self, recording: Source, result: Result) -> None:
        """Add to RESULT, the check of RECORDING, what is expected of it. Raises BadInputError."""
        if self.board is not None or self.baseline is not None:
            from virtio_trace.report.seen import seen  # noqa: PLC0415 - a plain check needs none

            self._compare(seen(recording), result)
        if self.strict:
            from virtio_trace.check.expectations import strict  # noqa: PLC0415 - as above

            strict(result)

    def _compare(self, shown: Seen, result: Result) -> None:
        from virtio_trace.report.board import judge as board_judge  # noqa: PLC0415 - as above
        from virtio_trace.report.diff import baseline, compare  # noqa: PLC0415 - as above

        after = ("the recording", shown, compare.outcomes(result))
        if self.board is not None:
            board_judge.judge(self.board, shown).apply(result)
        if self.baseline is not None:
            diff = compare.compare(self.baseline, after, self.time_ratio, _CALLED)
            baseline.judge(diff, shown.last_seq).apply(result)


def expected(
    board: str | None, strict: bool = False, baseline: Shown | None = None,
    time_ratio: float | None = None,
) -> Expected:  # fmt: skip
    """Reads the file BOARD. Raises BadInputError, UsageError."""
    if time_ratio is not None and baseline is None:
        raise UsageError("--time-ratio is for --baseline", "name a recording: --baseline RECORDING")
    return Expected(None if board is None else read_board(board), strict, baseline, time_ratio)


def read_board(file: str) -> Board:
    """The board in FILE. Raises BadInputError."""
    from virtio_trace.report.board.parse import LARGEST, parse  # noqa: PLC0415 - as above

    try:
        with Path(file).open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        message = f"{file}: {error.strerror or error}"
        hint = "write one: virtio-trace board RECORDING -o FILE"
        raise BadInputError(message, hint) from error
    return parse(data, file)


def shown_by(file: str, profile: str, *, live: bool = False) -> Shown:
    """What the recording FILE shows, checked against the procedure of PROFILE. LIVE: without what
    the kernel recorded of its own boot. Raises BadInputError."""
    from virtio_trace.check import verdict  # noqa: PLC0415 - as above
    from virtio_trace.recording.live_part import LivePart  # noqa: PLC0415 - as above
    from virtio_trace.report.diff.compare import outcomes  # noqa: PLC0415 - as above
    from virtio_trace.report.seen import seen  # noqa: PLC0415 - as above

    with reading.opened(file) as whole:
        recording = LivePart(whole) if live else whole
        return file, seen(recording), outcomes(verdict.judge(recording, profile))
