# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs debugfs of e2fsprogs: many requests in one process.

debugfs reads at an offset into a file and needs neither root nor a mount. Its exit status is
always 0, so its standard error is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.host.children import Limits
from virtio_trace.vm.host.programs import ProgramLimitError, no_room, run

_BATCH = 1000
_REQUESTS = "requests"
_LIMITS = Limits(seconds=600, output=64 << 20)


class Debugfs:
    """The file system NAME in FILE, a file of folder SCRATCH (with ``?offset=`` if needed)."""

    def __init__(self, file: str, scratch: Path, name: str) -> None:
        self._file = file
        self._scratch = scratch
        self._name = name

    def ask(self, requests: Sequence[str]) -> list[str]:
        """The answer to each request. Raises BadInputError if debugfs cannot read the file system,
        takes too long, prints too much or fills the disk."""
        answers = []
        for at in range(0, len(requests), _BATCH):
            answers += self._ask(requests[at : at + _BATCH])
        return answers

    def _ask(self, requests: Sequence[str]) -> list[str]:
        (self._scratch / _REQUESTS).write_text("".join(f"{one}\n" for one in requests), "utf-8")
        argv = ["debugfs", "-f", _REQUESTS, self._file]
        what = f"reading {self._name}"
        try:
            done = run(
                argv,
                what,
                cwd=self._scratch,
                check=False,
                limits=_LIMITS,
                watch=lambda: no_room(self._scratch),
            )
        except ProgramLimitError as error:
            raise BadInputError(str(error)) from error
        lines = [line for line in done.stderr.splitlines() if not line.startswith("debugfs 1.")]
        if any("while trying to open" in line or "not open" in line for line in lines):
            raise BadInputError(f"{self._name} cannot be read: {lines[0]}")
        return self._cut(done.stdout, requests)

    def _cut(self, output: str, requests: Sequence[str]) -> list[str]:
        """debugfs repeats each request, in a line of its own, before its answer."""
        starts, ends, at = [], [], 0
        for request in requests:
            line = f"debugfs: {request}\n"
            found = output.find(line, at)
            if found < 0:
                raise BadInputError(f"{self._name} cannot be read: debugfs ended early")
            ends.append(found)
            at = found + len(line)
            starts.append(at)
        ends = [*ends[1:], len(output)]
        return [output[start:end] for start, end in zip(starts, ends, strict=True)]
