# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal of a chosen width in a guest, by tmux, and what a person sees on it."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass

from tests.vm.system import System

_HEIGHT = 40
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What COMMAND left on the terminal, its exit status, and the seconds it took."""

    command: str
    lines: list[str]
    status: int
    seconds: float


class Pane:
    """A login shell of its own in tmux, COLUMNS wide. Its server has no configuration of ours."""

    def __init__(self, system: System, columns: int) -> None:
        self._system, self._name = system, f"w{columns}"
        self.columns = columns
        system.must(f"tmux new-session -d -s {self._name} -x {columns} -y {_HEIGHT}")
        self.wait(r"\$$")

    def lines(self) -> list[str]:
        """Everything that was printed since the last start(). A wrapped line is one line."""
        text = self._system.must(f"tmux capture-pane -p -J -S - -t {self._name}")
        return [line.rstrip() for line in text.rstrip("\n").splitlines()]

    def wait(self, pattern: str, seconds: float = _PATIENCE) -> re.Match[str]:
        """Until a line has PATTERN."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.lines()
            for line in lines:
                if found := re.search(pattern, line):
                    return found
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n" + "\n".join(lines)
            time.sleep(0.3)

    def keys(self, *keys: str) -> None:
        """Press KEYS, named as tmux does."""
        words = " ".join(shlex.quote(key) for key in keys)
        self._system.must(f"tmux send-keys -t {self._name} {words}")

    def start(self, command: str) -> None:
        """Type COMMAND on an empty screen. Its status is printed after it."""
        self._system.must(f"tmux send-keys -t {self._name} -R C-l")
        self._system.must(f"tmux clear-history -t {self._name}")
        self._command, self._begun = command, time.monotonic()
        self.keys(f'{command}; echo "[$?]"', "Enter")

    def end(self) -> Shown:
        """Wait for the end of what was started."""
        status = int(self.wait(r"^\[(\d+)\]$")[1])
        taken = time.monotonic() - self._begun
        lines = self.lines()
        first = next(number for number, line in enumerate(lines) if 'echo "[$?]"' in line) + 1
        last = next(number for number, line in enumerate(lines) if re.match(r"\[\d+\]$", line))
        return Shown(self._command, lines[first:last], status, taken)

    def run(self, command: str) -> Shown:
        """Start COMMAND, and wait for its end."""
        self.start(command)
        return self.end()
