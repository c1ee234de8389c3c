# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's console says about a boot that does not come up: lines in, causes out.

The words are those of the kernel (init/do_mounts.c, kernel/panic.c), initramfs-tools
(scripts/functions, scripts/local), dracut (dracut-lib.sh, dracut-emergency.sh), systemd
(core/job.c), util-linux (login-utils/sulogin.c) and debian-installer (cdebconf's newt).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from virtio_trace.vm.root.until import StopReason

_MOST_CAUSES = 6
_MOST_FAILED = 3
_UNIT = "systemd said: Failed to "

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)
"""The control sequences of a terminal (ECMA-48)."""

_MOVE = re.compile(r"\x1b\[[0-9;]*[Hf]")
_KERNEL = re.compile(r"\[ *[0-9]+\.[0-9]{6}\] ")

_MISSING = "the initrd waited for {what}, which does not exist"
_LOCKED = "Cannot open access to console, the root account is locked"
_CAUSES = (
    (r"(?<!end )Kernel panic - not syncing: (?P<what>.+)", "the kernel panicked: {what}"),
    (r"VFS: (?P<what>Cannot open root device .+)", "the kernel said: {what}"),
    (r"ALERT!\s+(?P<what>.+?) does not exist", _MISSING),
    (r"Warning: (?P<what>/\S+) does not exist", _MISSING),
    (r"(?P<what>No root device specified)", "the initrd said: {what}"),
    (r"(?P<what>Failed to mount .+ as root file system)", "the initrd said: {what}"),
    (r"(?P<what>(No init found|Target filesystem doesn't have).+)", "the initrd said: {what}"),
    (r"dracut: (?P<what>FATAL: .+)", "dracut said: {what}"),
    (r"Warning: (?P<what>Could not boot)", "dracut said: {what}"),
    (r"(?P<what>cryptsetup: Waiting for .+)", "the initrd said: {what}"),
    (r"(?P<what>Please (unlock disk|enter passphrase) .+)", "the system asked: {what}"),
    (r"(?P<what>[^ ].*(RUN fsck MANUALLY|requires a manual fsck).*)", "fsck said: {what}"),
    (r"(\[FAILED\]|systemd\[1\]:) (?P<what>Failed to (start|mount) .+)", "systemd said: {what}"),
    (r"(\[ TIME \]|systemd\[1\]:) (?P<what>Timed out waiting .+)", "systemd said: {what}"),
    (rf"(?P<what>{_LOCKED})", "sulogin said: {what}"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), words) for pattern, words in _CAUSES)

_JOB = re.compile(
    r"^\[[ *]+\] (?:\([0-9]+ of (?P<number>[0-9]+)\) )?"
    r"(?P<what>(?:A (?:start|stop) job is running for (?P<title>[^…(]+)|Job (?P<name>[^/…]+)).*?)"
    r"(?: \((?P<time>[^()]*)\))?$"
)
"""By StatusUnitFormat= of systemd-system.conf(5): the unit's description, or its name. systemd
shortens both in the middle."""

_ENDED = re.compile(r"^\[(?:  OK  |FAILED| TIME |DEPEND)\]")

_JOB_AGE = 10
"""Lines after which a job has ended. systemd repeats the line of a running job every second."""

_SHELLS = (
    (r"^\(initramfs\)", "the initrd's shell"),
    (r"(dracut|switch_root):[^ ]*# ?", "dracut's shell"),
    (r"(Give root password|Press Enter) for maintenance", "a maintenance shell"),
    (r"Give root password for login:", "a maintenance shell"),
    (r"\(or (press|type) Control-D to continue\)", "a maintenance shell"),
    (_LOCKED, "a maintenance shell"),
    (r"You are in (emergency|rescue) mode", "a maintenance shell"),
    (r"Entering (emergency|rescue) mode\. Exit the shell to continue", "a maintenance shell"),
)
_SHELL_PATTERNS = tuple((re.compile(pattern), name) for pattern, name in _SHELLS)
_GOES_ON = re.compile(r"login: ?$|Reached target (multi-user|graphical|default)\b")
_LAST = 10
"""Lines without those of the kernel. Jobs that end after a shell has begun print a few more."""

_QUESTION = re.compile(rb"\[(?:!!|!|\.|\?)\] ([^\x1b\r\n]{1,99})")
"""A dialog's title, with the question's priority (cdebconf, newt.c)."""
_INSTALLER = re.compile(r"<Tab> |\(1\*installer\)")
"""The last line of newt's screen, and what screen(1) says below it."""


def plain(line: bytes) -> str:
    """LINE as text, without its end, control sequences, and what a carriage return overwrote."""
    parts = _text(line).rstrip().split("\r")
    return next((part for part in reversed(parts) if part.strip()), "").rstrip()


def _text(data: bytes) -> str:
    """DATA without control sequences. What moves the cursor is a space."""
    text = data.decode("utf-8", "replace")
    if _MOVE.search(text):
        text = re.sub(" {3,}", "  ", _MOVE.sub("  ", text))
    return _ESCAPE.sub("", text)


class _Job(NamedTuple):
    """A job of systemd: the beginning of its unit's name or description, and its time."""

    unit: str
    time: str


class Causes:
    """Collects what lines of a console give as a reason for a boot that does not come up."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}
        self._failed: dict[str, None] = {}
        self._jobs: dict[str, _Job] = {}
        self._age = 0

    def take(self, line: str) -> None:
        """The next line, as plain returns it."""
        if (job := _JOB.match(line)) is not None:
            self._job(job)
            return
        if line.strip() and not _KERNEL.match(line):
            self._age += 1
        if self._jobs and _ENDED.match(line):
            jobs = self._jobs.items()
            self._jobs = {what: job for what, job in jobs if job.unit not in line}
        for pattern, words in _PATTERNS:
            if (found := pattern.search(line)) is not None:
                self._keep(words.format(what=found["what"].strip().rstrip(".")))
                return

    def sentences(self) -> list[str]:
        """The reasons, in the order of their lines; then the jobs that systemd still waits for."""
        jobs = self._jobs.items() if self._age <= _JOB_AGE else ()
        waits = [f"systemd waits: {what}{job.time}" for what, job in jobs]
        return [*self._said, *self._failed, *waits]

    def _job(self, job: re.Match[str]) -> None:
        """With several jobs, systemd prints one after the other, and their number."""
        self._age = 0
        self._jobs.pop(job["what"], None)
        time = f" ({job['time']})" if job["time"] else ""
        self._jobs[job["what"]] = _Job((job["title"] or job["name"]).strip(), time)
        number = min(int(job["number"] or 1), _MOST_CAUSES)
        self._jobs = dict([*self._jobs.items()][-number:])

    def _keep(self, said: str) -> None:
        """A unit that failed is often not the reason, so it takes no other's place."""
        kept, most = (self._failed, _MOST_FAILED) if _UNIT in said else (self._said, _MOST_CAUSES)
        if len(kept) < most:
            kept[said] = None


def standstill(lines: Sequence[str], screen: bytes = b"") -> StopReason | None:
    """Whether a guest waits for a person, by the last LINES of its console, and its last bytes,
    SCREEN; None: it does not.

    At a question of Debian's installer the system is up. At a maintenance shell it is not.
    """
    asked = _QUESTION.findall(screen)
    if asked and _INSTALLER.search(_text(screen)):
        return StopReason(True, f"Debian's installer asks: {plain(asked[-1])}")
    seen = [line for line in lines if line.strip() and not _KERNEL.match(line)][-_LAST:]
    for line in reversed(seen):
        if _GOES_ON.search(line):
            return None
        for pattern, name in _SHELL_PATTERNS:
            if pattern.search(line):
                return StopReason(False, f"{name} waits on the console")
    return None


def has_root(cmdline: str) -> bool:
    """Whether a kernel command line says where the root file system is. boot= names a script of
    initramfs-tools that finds it (initramfs-tools(7)), as live-boot's does."""
    return bool(re.search(r"(?:^|\s)(?:root|boot|nfsroot|netroot)=\S", cmdline))
