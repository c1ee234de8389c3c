# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest sends: the recording's channel and the console; and how its boot is ended."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from virtio_trace.vm import console as words
from virtio_trace.vm.qemu import process
from virtio_trace.vm.qemu.executor_channel import ExecutorChannel
from virtio_trace.vm.root.until import Look, StopCondition, StopReason, Until

_FINISH_SECONDS = 15.0
"""How long a third-party system's recorder may take to finish after --timeout."""

_LAST_WORDS_SECONDS = 1.0
"""How long to keep reading: a panic's stack trace follows it, and the console has a queue."""

_STANDSTILL_SECONDS = 10.0
"""How long a console that shows a shell or a question must have printed nothing."""

TAIL = 25
"""Lines of the console that an Outcome keeps."""

_READ = 1024
"""Bytes of a line that are read for causes."""

_SCREEN = 8192
"""Bytes of a console's end. A dialog of Debian's installer has some 3,000."""

_SAID_LINES = 20
"""The script says two at most."""

LONGEST_LINE = 4 << 20
"""Bytes. A longer line of a guest is dropped; a header, the longest of ours, has some 30 KB."""

HOST_SAYS = b"end\n"
"""What ends a recording (tracer/executor/guest.py, END)."""


class GuestShutdown:
    """Ends a boot. A guest of ours switches itself off, or runs out of time. A third party's runs
    for ever: it is told to finish its recording when UNTIL's condition is met, and then ended."""

    def __init__(self, until: Until | None, deadline: float) -> None:
        self._until = until
        self._condition = StopCondition(until.kind, until.seconds) if until is not None else None
        self._ask_at = deadline
        self.deadline = deadline + (_FINISH_SECONDS if until is not None else 0)
        self._asked = False
        self._why: StopReason | None = None
        self._over: float | None = None
        self._printed, self._size = 0.0, -1
        self.too_late = False

    def reached(
        self, run: process.Run, channel: Channel | ExecutorChannel, console: ConsoleTail
    ) -> bool:
        """Whether QEMU can be ended. Tells the guest to finish when it is time to."""
        if self._condition is None:
            return False
        now = time.monotonic()
        if console.size != self._size:
            self._printed, self._size = now, console.size
        # Before it is armed, the recorder does not listen.
        if not self._asked and channel.began:
            self._why = self._reason(channel.looks(), console, now)
        if not self._asked and (self._why is not None or now >= self._ask_at):
            self._asked, self.too_late = True, self._why is None
            run.tell(HOST_SAYS)
        if self._over is None and (console.panicked or channel.status is not None):
            self._over = now
        return self._over is not None and now - self._over > _LAST_WORDS_SECONDS

    def reason(self, console: ConsoleTail) -> StopReason | None:
        """Why the recording ended. Where the console shows that a person is waited for, that
        decides whether the system is up."""
        if self._why is None or console.heard:
            return self._why
        return self._standstill(console) or self._why

    def _reason(self, looks: Sequence[Look], console: ConsoleTail, now: float) -> StopReason | None:
        """Why the guest should finish now, by its console and by what its executor sees."""
        if console.heard and self._until is not None:
            return StopReason(True, f"the console said {self._until.text}")
        if now - self._printed > _STANDSTILL_SECONDS and (why := self._standstill(console)):
            return why
        assert self._condition is not None
        for look in looks:
            why = self._condition.met(replace(look, printed=str(console.size)))
            if why is not None:
                return why
        return None

    def _standstill(self, console: ConsoleTail) -> StopReason | None:
        """A system that is up, but does not print the text, is not what was waited for."""
        seen = console.standstill()
        text = self._until.text if self._until is not None else ""
        return StopReason(False, seen.why) if seen is not None and text else seen


class Channel:
    """Cuts a port's output into lines, and interprets the lines of the guest's own script.

    ``began``: a line of the recording came. ``status``: the script's exit status. ``said``: its
    message and hint. ``dropped``: lines longer than LONGEST_LINE.
    """

    _PREFIX = b"virtio-trace: "
    _SAID = b"virtio-trace: recorder said: "
    _STATUS = re.compile(rb"virtio-trace: recorder ended with status ([0-9]{1,5})\n")

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()
        self._too_long = False
        self.began = False
        self.status: int | None = None
        self.said: list[str] = []
        self.dropped = 0

    @property
    def lost(self) -> int:
        """Lines of the recording that are known to be missing."""
        return self.dropped

    def looks(self) -> list[Look]:
        """What was seen of the guest: nothing, it ends by itself."""
        return []

    def feed(self, data: bytes) -> None:
        """Consumes bytes as they come, cut anywhere."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start : end + 1])
            self._end_line()
            start = end + 1
        self._add(data[start:])

    def close(self) -> None:
        """The end: a line that was cut short is handed on too."""
        if self._too_long:
            self._end_line()
        elif self._rest:
            rest = bytes(self._rest)
            self._rest.clear()
            self._on_line(rest)

    def _add(self, data: bytes) -> None:
        if self._too_long or len(self._rest) + len(data) > LONGEST_LINE:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += data

    def _end_line(self) -> None:
        if self._too_long:
            self._too_long = False
            self.dropped += 1
            return
        line = bytes(self._rest)
        self._rest.clear()
        if not line.startswith(self._PREFIX):
            self.began = True
            self._on_line(line)
        elif found := self._STATUS.fullmatch(line):
            self.status = int(found[1])
        elif line.startswith(self._SAID):
            self.said.append(line.removeprefix(self._SAID).decode(errors="replace").strip())
            del self.said[:-_SAID_LINES]


class ConsoleTail:
    """The last lines of a console, what they give as causes, and the line in which the kernel
    reported its death.

    ``root_too_big``: the kernel could not unpack its root (init/initramfs.c). ``panicked``: it is
    dead (kernel/panic.c). ``heard``: TEXT was printed, in one line that may be unfinished.
    ``size`` counts the bytes.
    """

    _FATAL = re.compile(rb"Kernel panic|BUG: |Oops|double fault|Out of memory")
    _AGAIN = b"\x1bM"
    """Reverse index: systemd prints a line over the one before."""

    def __init__(self, text: str = "") -> None:
        self._text = text.encode()
        self._lines: deque[bytes] = deque(maxlen=TAIL)
        self._rest = self._screen = b""
        self._fatal: bytes | None = None
        self._causes = words.Causes()
        self.size = 0
        self.root_too_big = self.panicked = self.heard = False

    def feed(self, data: bytes) -> None:
        """Consumes bytes as they come, cut anywhere."""
        self.size += len(data)
        self._screen = (self._screen + data)[-_SCREEN:]
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(self._AGAIN) and self._lines:
                self._lines.pop()
            self._lines.append(line)
            self._causes.take(words.plain(line[:_READ]))
            if b"Initramfs unpacking failed: write error" in line:
                self.root_too_big = True
            if b"Kernel panic - not syncing" in line:
                self.panicked = True
            if self._FATAL.search(line):
                self._fatal = line
        self._rest = self._rest[-4096:]
        if self._text and not self.heard:
            self.heard = any(self._text in line for line in (*lines, self._rest))

    def lines(self) -> list[str]:
        """The last lines as text, without empty ones and their control sequences."""
        every = [*self._lines, *([self._rest] if self._rest.strip() else [])][-TAIL:]
        if self._fatal is not None and self._fatal not in every:
            every = [self._fatal, b"[...]", *every]
        return [text for text in map(words.plain, every) if text]

    def causes(self) -> list[str]:
        """What the console gives as reasons for a boot that does not come up, as sentences."""
        return self._causes.sentences()

    def standstill(self) -> StopReason | None:
        """Whether the guest waits for a person now; None: it does not."""
        return words.standstill(self.lines(), self._screen)
