# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest says, as it comes: the recording's channel, the console; and when that was all."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable

from virtio_trace.vm.qemu import process
from virtio_trace.vm.root import until
from virtio_trace.vm.root.until import StopReason

_FINISH_SECONDS = 15.0
"""A foreign system's recorder gets so long to end its recording once --timeout has run out."""

_LAST_WORDS_SECONDS = 1.0
"""After a panic the stack trace is still to come; at a recording's end, what the console has in its
queue."""

TAIL = 25
"""Lines of the console that an Outcome keeps."""


class GuestShutdown:
    """How a boot is brought to its end. A guest of ours switches itself off, or runs out of time;
    a FOREIGN one goes on for ever: it is asked to finish its recording, and ended then."""

    def __init__(self, foreign: bool, deadline: float) -> None:
        self._foreign = foreign
        self._ask_at = deadline
        self.deadline = deadline + (_FINISH_SECONDS if foreign else 0)
        self._asked = False
        self._over: float | None = None
        self.too_late = False

    def reached(self, run: process.Run, channel: Channel, console: Tail) -> bool:
        """Whether this was all; asks the guest for its end where it is time for that."""
        if not self._foreign:
            return False
        now = time.monotonic()
        # Who is not armed yet does not listen.
        if not self._asked and ((console.heard and channel.began) or now >= self._ask_at):
            self._asked, self.too_late = True, now >= self._ask_at
            run.tell(until.HOST_SAYS)
        if self._over is None and (console.panicked or channel.status is not None):
            self._over = now
        return self._over is not None and now - self._over > _LAST_WORDS_SECONDS


class Channel:
    """Cuts what comes over the events channel into lines, and keeps init's own lines back."""

    _PREFIX = b"virtio-trace: "
    _STATUS = re.compile(rb"virtio-trace: recorder ended with status (\d+)\n")
    _SAID = b"virtio-trace: recorder said: "
    _ENOUGH = re.compile(rb"virtio-trace: until (yes|no): (.*)\n")

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.began = False
        self.status: int | None = None
        self.said: list[str] = []
        self.stop: StopReason | None = None

    def feed(self, data: bytes) -> None:
        """Bytes as they come, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._consume(line + b"\n")

    def close(self) -> None:
        """The end: a line that was cut short is handed over as it is."""
        if self._rest:
            self._on_line(self._rest)
            self._rest = b""

    def _consume(self, line: bytes) -> None:
        if not line.startswith(self._PREFIX):
            self.began = True
            self._on_line(line)
        elif found := self._STATUS.fullmatch(line):
            self.status = int(found[1])
        elif line.startswith(self._SAID):
            self.said.append(line.removeprefix(self._SAID).decode(errors="replace").strip())
        elif found := self._ENOUGH.fullmatch(line):
            self.stop = StopReason(found[1] == b"yes", found[2].decode(errors="replace").strip())


class Tail:
    """The last lines of a console, and the line in which the kernel said that it dies.

    ``cramped``: it said that it could not unpack its root (init/initramfs.c); ``panicked``: it
    is dead (kernel/panic.c); ``heard``: it said TEXT, in one line that need not be over."""

    _FATAL = re.compile(rb"Kernel panic|BUG: |Oops|double fault|Out of memory")

    def __init__(self, text: str = "") -> None:
        self._text = text.encode()
        self._lines: deque[bytes] = deque(maxlen=TAIL)
        self._rest = b""
        self._fatal: bytes | None = None
        self.cramped = self.panicked = self.heard = False

    def feed(self, data: bytes) -> None:
        """Bytes as they come, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lines.append(line)
            if b"Initramfs unpacking failed: write error" in line:
                self.cramped = True
            if b"Kernel panic - not syncing" in line:
                self.panicked = True
            if self._FATAL.search(line):
                self._fatal = line
        self._rest = self._rest[-4096:]
        if self._text and not self.heard:
            self.heard = any(self._text in line for line in (*lines, self._rest))

    def lines(self) -> list[str]:
        """The last lines as text, without their ends."""
        every = [*self._lines, *([self._rest] if self._rest.strip() else [])][-TAIL:]
        if self._fatal is not None and self._fatal not in every:
            every = [self._fatal, b"[...]", *every]
        return [line.decode(errors="replace").rstrip() for line in every]
