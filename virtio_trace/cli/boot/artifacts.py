# SPDX-License-Identifier: GPL-2.0-or-later
"""``boot --artifacts DIR``: what a CI job keeps of a boot, also of one that failed."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

from virtio_trace.check.findings import Result
from virtio_trace.cli.support import formats, results
from virtio_trace.errors import UsageError, VirtioTraceError
from virtio_trace.recording.source import Source
from virtio_trace.render import junit
from virtio_trace.report.about import about
from virtio_trace.report.cases import cases, no_recording
from virtio_trace.vm.outcome import Outcome

RECORDING = "recording.vtr"
CONSOLE = "console.txt"
JUNIT = "junit.xml"
VERDICT = "verdict.txt"
OUTCOME = "outcome.json"

_REPORTS = {"report.json": "json", "report.html": "html"}
_GRAPH = "graph.svg"
_CHECKS = {"check.json": "json", "summary.md": "markdown", VERDICT: "text"}

FILES = (RECORDING, CONSOLE, OUTCOME, JUNIT, *_CHECKS, *_REPORTS, _GRAPH)
"""All that DIR gets. What is there under these names is removed first."""


class Artifacts:
    """A context manager, for the whole boot. FOLDER is made if it is missing.

    Of a boot without a recording, junit.xml and verdict.txt say what went wrong. Raises UsageError
    if FOLDER cannot be used.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                (self._folder / name).unlink(missing_ok=True)
            (self._folder / CONSOLE).touch()
        except OSError as error:
            raise UsageError(
                f"--artifacts {folder}: {error.strerror or error}", "name another folder"
            ) from error
        self._is_written = False

    @property
    def recording(self) -> str:
        """The path of the recording."""
        return str(self._folder / RECORDING)

    @property
    def console(self) -> str:
        """The path of the guest's console."""
        return str(self._folder / CONSOLE)

    def __enter__(self) -> Artifacts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_written:
            return
        if error is None:
            self._without_recording("the guest sent no recording")
        else:
            is_ours = isinstance(error, VirtioTraceError)
            self._without_recording(str(error) if is_ours else "interrupted")

    def write_outcome(self, outcome: Outcome) -> None:
        """Write how the guest ended. Raises CannotTraceError."""
        told = {
            "end": outcome.end,
            "accel": outcome.accel,
            "seconds": round(outcome.seconds, 3),
            "reached": None if outcome.stop is None else outcome.stop.reached,
        }
        with results.result_output(str(self._folder / OUTCOME)) as out:
            out.write(json.dumps(told) + "\n")

    def write(self, recording: Source, result: Result, broken: str | None) -> None:
        """Write everything about RECORDING and RESULT. BROKEN: why the boot failed, if it did.

        Raises CannotTraceError for a file that cannot be written.
        """
        more = {formats.ABOUT: about(recording)}
        with results.result_output(str(self._folder / JUNIT)) as out:
            found = cases(result, broken)
            junit.write(found, out, more[formats.ABOUT], junit.properties(result))
        for name, style in _CHECKS.items():
            row = formats.find("check", style)
            results.show(row, result, file=str(self._folder / name), more=more)
        self._is_written = True
        for name, style in _REPORTS.items():
            row = formats.find("report", style)
            results.show(row, recording, file=str(self._folder / name))
        results.show(formats.find("graph", "svg"), recording, file=str(self._folder / _GRAPH))

    def _without_recording(self, broken: str) -> None:
        with results.result_output(str(self._folder / JUNIT)) as out:
            junit.write(no_recording(broken), out, None, {"verdict": "INCOMPLETE"})
        with results.result_output(str(self._folder / VERDICT)) as out:
            out.write(f"INCOMPLETE: {broken}\n")
