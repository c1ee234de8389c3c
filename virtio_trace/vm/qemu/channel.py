# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest sends: the recording's channel and the console; and how its boot is ended."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable

from virtio_trace.vm import console as words
from virtio_trace.vm.qemu import process
from virtio_trace.vm.qemu.frame_reader import FrameReader
from virtio_trace.vm.root import until
from virtio_trace.vm.root.until import StopReason

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

LONGEST_LINE = 4 << 20
"""Bytes. A longer line of a guest is dropped; a header, the longest of ours, has some 30 KB."""

_SAID_LINES = 20


class GuestShutdown:
    """Ends a boot. A guest of ours switches itself off, or runs out of time. A THIRD_PARTY one runs
    for ever: it is told to finish its recording, and then ended. TEXT: it ends when the console has
    printed that."""

    def __init__(self, third_party: bool, deadline: float, text: str = "") -> None:
        self._third_party = third_party
        self._ask_at = deadline
        self._text = text
        self.deadline = deadline + (_FINISH_SECONDS if third_party else 0)
        self._asked = False
        self._why: StopReason | None = None
        self._over: float | None = None
        self._printed, self._size = 0.0, -1
        self.too_late = False

    def reached(self, run: process.Run, channel: Channel, console: ConsoleTail) -> bool:
        """Whether QEMU can be ended. Tells the guest to finish when it is time to."""
        if not self._third_party:
            return False
        now = time.monotonic()
        if console.size != self._size:
            self._printed, self._size = now, console.size
        # Before it is armed, the recorder does not listen.
        if not self._asked and channel.began:
            self._why = self._reason(console, now)
        if not self._asked and (self._why is not None or now >= self._ask_at):
            self._asked, self.too_late = True, self._why is None
            run.tell(until.HOST_SAYS)
        if self._over is None and (console.panicked or channel.status is not None):
            self._over = now
        return self._over is not None and now - self._over > _LAST_WORDS_SECONDS

    def reason(self, guests: StopReason | None, console: ConsoleTail) -> StopReason | None:
        """Why the recording ended; GUESTS is the guest's own reason. Where the console shows that a
        person is waited for, that decides whether the system is up."""
        if guests is None or self._why is not None:
            return self._why or guests
        return self._standstill(console) or guests

    def _reason(self, console: ConsoleTail, now: float) -> StopReason | None:
        """Why the guest should finish now, by its console."""
        if console.heard:
            return StopReason(True, f"the console said {self._text}")
        return self._standstill(console) if now - self._printed > _STANDSTILL_SECONDS else None

    def _standstill(self, console: ConsoleTail) -> StopReason | None:
        """A system that is up, but does not print the text, is not what was waited for."""
        seen = console.standstill()
        return StopReason(False, seen.why) if seen is not None and self._text else seen


class Channel:
    """Cuts the events channel into lines, and interprets the lines of the guest's own scripts.

    ``began``: a line of the recording came. ``status``: the recorder's exit status. ``dropped``:
    lines longer than LONGEST_LINE. FRAMED: the recording comes in frames (frame_reader.py).
    """

    _PREFIX = b"virtio-trace: "
    _STATUS = re.compile(rb"virtio-trace: recorder ended with status ([0-9]{1,5})\n")
    _SAID = b"virtio-trace: recorder said: "
    _STOP = re.compile(rb"virtio-trace: until (yes|no): (.*)\n")

    def __init__(self, on_line: Callable[[bytes], None], framed: bool = False) -> None:
        self._on_line = on_line
        self._frames = FrameReader(self._lines, self._consume) if framed else None
        self._rest = bytearray()
        self._too_long = False
        self.began = False
        self.status: int | None = None
        self.said: list[str] = []
        self.stop: StopReason | None = None
        self.dropped = 0

    def feed(self, data: bytes) -> None:
        """Consumes bytes as they come, cut anywhere."""
        if self._frames is not None:
            self._frames.feed(data)
            return
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start : end + 1])
            self._end_line()
            start = end + 1
        self._add(data[start:])

    def close(self) -> None:
        """The end: a line that was cut short is handed on too."""
        if self._frames is not None:
            self._frames.close()
        if self._too_long:
            self._end_line()
        elif self._rest:
            rest = bytes(self._rest)
            self._rest.clear()
            self._on_line(rest)

    @property
    def lost(self) -> int:
        """Lines of the recording that are known to be missing."""
        return self.dropped + (self._frames.lost if self._frames is not None else 0)

    def _lines(self, data: bytes) -> None:
        for line in data.split(b"\n")[:-1]:
            self._consume(line + b"\n")

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
        self._consume(line)

    def _consume(self, line: bytes) -> None:
        if not line.startswith(self._PREFIX):
            self.began = True
            self._on_line(line)
        elif found := self._STATUS.fullmatch(line):
            self.status = int(found[1])
        elif line.startswith(self._SAID):
            self.said.append(line.removeprefix(self._SAID).decode(errors="replace").strip())
            del self.said[:-_SAID_LINES]
        elif found := self._STOP.fullmatch(line):
            self.stop = StopReason(found[1] == b"yes", found[2].decode(errors="replace").strip())


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
