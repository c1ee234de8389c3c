# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a matrix is: a line for each case, and an estimate of the time that is left."""

from __future__ import annotations

import time

import click

from virtio_trace.cli.support import status
from virtio_trace.cli.support.results import result_output
from virtio_trace.cli.support.terminal import paint_for
from virtio_trace.matrix.case import OK, CaseResult
from virtio_trace.render.matrix_text import case_line


class MatrixProgress:
    """Of TOTAL cases. Use it within a StatusLine. QUIET: no line for a case that is ok."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._spent = 0.0
        self._ended = time.monotonic()

    def result(self, result: CaseResult) -> None:
        """Prints the line of a case that has just ended."""
        self._done += 1
        self._spent += result.seconds
        self._ended = time.monotonic()
        if self._quiet and result.status == OK and not result.retries:
            return
        with status.above(), result_output() as out:
            click.echo(case_line(result, paint_for(out)), file=out)
            out.flush()

    def show(self, width: int) -> None:
        """Shows how far it is, if WIDTH cases run at once."""
        done = self._done / self._total if self._total else 1.0
        count = f"{self._done} of {self._total} cases"
        left = self.left_seconds(width)
        if left is not None:
            count += f", {_words(left)} left"
        status.step("running", done, count)

    def left_seconds(self, width: int) -> float | None:
        """The estimate: cases take what they took so far. None without a case that has ended."""
        if not self._done or self._done == self._total:
            return None
        mean = self._spent / self._done
        rounds = (self._total - self._done) / max(min(width, self._total), 1)
        since = time.monotonic() - self._ended
        return max(mean * rounds - since, 0.0)


def _words(seconds: float) -> str:
    """``about 3 min``."""
    if seconds < 90:
        return f"about {max(round(seconds / 10) * 10, 10)} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 120 else f"about {round(minutes / 60)} h"
