# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's log since the probes were armed: messages about virtio, its drivers and devices,
warnings about their disks and interfaces, and about modules that could not be loaded: the kernel
does not always name these.

Each read of /dev/kmsg returns one record (Documentation/ABI/testing/dev-kmsg):
``4,1234,21456789,-;virtio_net: probe of virtio1 failed with error -22``, then lines that start
with a space, where dev_printk puts the device: `` DEVICE=+virtio:virtio1``.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from virtio_trace.recording import refusal
from virtio_trace.recording.carried import WARNING, pattern
from virtio_trace.recording.machine_state import Log, LogLine

_MAX_LINES = 1000
_MAX_RECORD = 8192
_DEBUG = 7
_RECORD = re.compile(r"([0-9]{1,9}),[0-9]{1,19},([0-9]{1,15}),[^;]*;(.*)", re.DOTALL)
"""Priority, number, microseconds; bounded, as the text may be a guest's."""
_NUMBER = re.compile(rb"[0-9]{1,9},([0-9]{1,19}),")
_MAY_BE_OURS = re.compile(r"virtio|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|blacklist", re.I)
"""virtio0, virtio_net, and any PCI address: which of those are virtio's is known at the end."""


class KernelLog:
    """Reads the log as it is written, because the kernel's buffer is small; keeps messages that
    may be about virtio, and every warning: the names of disks and interfaces are known at the end.
    Without a PATH, it has only what is given to :meth:`take`."""

    def __init__(self, path: Path | None = Path("/dev/kmsg")) -> None:
        self._lines: list[tuple[LogLine, bool]] = []
        self._kept = {True: 0, False: 0}
        self._carried: set[str] = set()
        self._lost = False
        self._behind: int | None = None
        self._names: re.Pattern[str] | None = None
        self._fd: int | None = None
        if path is None:
            return
        with contextlib.suppress(OSError):  # dmesg_restrict, or a container: the log is unknown
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self._fd, 0, os.SEEK_END)

    def close(self) -> None:
        """Close the log."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def look_for(self, names: Collection[str]) -> None:
        """Keep messages with one of NAMES too."""
        words = "|".join(re.escape(name) for name in sorted(names))
        self._names = re.compile(rf"\b(?:{words})\b") if words else None

    def know(self, carried: Collection[str]) -> None:
        """CARRIED are disks and interfaces of VirtIO devices. They may be gone at the end."""
        self._carried.update(carried)

    def poll(self) -> None:
        """Read what is new."""
        for record in self._records():
            self.hear(record, time.monotonic_ns())

    def hear(self, record: bytes, now: int) -> None:
        """Take one record that was read at NOW, CLOCK_MONOTONIC, nanoseconds."""
        line = parse(record)
        if line is not None:
            behind = now - line.ns
            self._behind = behind if self._behind is None else min(behind, self._behind)
            self.take(line)

    def lose(self) -> None:
        """Records were overwritten before they were read."""
        self._lost = True

    def take(self, line: LogLine) -> None:
        """Keep one message, if it may be about virtio."""
        ours = self._may_be_ours(line)
        if line.level >= _DEBUG or not (ours or line.level <= WARNING):
            return
        if self._kept[ours] < _MAX_LINES:
            self._kept[ours] += 1
            self._lines.append((line, ours))
        else:
            self._lost = True

    def end(self, addresses: Collection[str], carried: Collection[str] = ()) -> Log | None:
        """The messages about virtio, now that the ADDRESSES of its devices are known, and what they
        carry; None: the log could not be read."""
        self.poll()
        return None if self._fd is None else self.about(addresses, carried)

    def about(self, addresses: Collection[str], carried: Collection[str] = ()) -> Log:
        """The messages so far that are about virtio."""
        self.know(carried)
        names = pattern(self._carried)
        kept = [
            line
            for line, ours in self._lines
            if (ours and self._is_ours(line, addresses))
            or (names is not None and line.level <= WARNING and names.search(line.text))
        ]
        return Log(tuple(kept), self._lost, self._behind)

    def _records(self) -> Iterator[bytes]:
        while self._fd is not None:
            try:
                record = os.read(self._fd, _MAX_RECORD)
            except BrokenPipeError:  # overwritten before we read them; the next read goes on
                self.lose()
                continue
            except OSError:  # EAGAIN: nothing new
                return
            if not record:
                return
            yield record

    def _may_be_ours(self, line: LogLine) -> bool:
        text = f"{line.text} {line.device or ''}"
        named = self._names is not None and self._names.search(text)
        return bool(named or _MAY_BE_OURS.search(text) or refusal.read(line.text))

    def _is_ours(self, line: LogLine, addresses: Collection[str]) -> bool:
        text = f"{line.text} {line.device or ''}"
        named = self._names is not None and self._names.search(text)
        ours = named or "virtio" in text or any(address in text for address in addresses)
        return bool(ours or refusal.read(line.text))


def records(lines: Iterable[str]) -> Iterator[bytes]:
    """The records in the output of ``cat /dev/kmsg``: each starts at a line without a space."""
    record: list[str] = []
    for line in lines:
        if record and not line.startswith(" "):
            yield "\n".join(record).encode()
            record = []
        record.append(line)
    if record:
        yield "\n".join(record).encode()


def is_whole(found: Sequence[bytes]) -> bool:
    """Whether FOUND are all records since the kernel started: numbered from 0, without a gap."""
    numbers = [_NUMBER.match(record) for record in found]
    return bool(found) and all(m and int(m[1]) == n for n, m in enumerate(numbers))


def parse(record: bytes) -> LogLine | None:
    r"""One record of /dev/kmsg; None: damaged, or written by a program.

    Programs' messages (facility other than 0) are no evidence of what the kernel did. Only
    modprobe's are kept, which vm/guest/drive quotes. The kernel escapes bytes that do not print, as
    in ``\x1b``; they are kept so."""
    match = _RECORD.fullmatch(record.decode("utf-8", "backslashreplace"))
    if match is None or (int(match[1]) >> 3 and not match[3].startswith(refusal.LOADER)):
        return None
    text, *more = match[3].rstrip("\n").split("\n")
    device = next((m.removeprefix(" DEVICE=") for m in more if m.startswith(" DEVICE=")), None)
    return LogLine(int(match[2]) * 1000, int(match[1]) & 7, text, device)
