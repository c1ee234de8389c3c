# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a third-party guest, as the recorder's command: it ends when the recording should end.

    python -m virtio_trace.vm.root.until running | quiet SECONDS | asked

As the recorder is armed, it lets the guest's first process go on, and then watches. It changes
nothing: it asks the system's own ``systemctl``, in the system's own root, for its state.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RUNNING, QUIET, ASKED = "running", "quiet", "asked"

QUIET_SECONDS = 5.0
"""Idle processor time without a change of a device or a module after which the recording ends, if
there is no systemd to ask."""

STUCK_SECONDS = 60.0
"""The same for a system in its initrd: initramfs-tools waits 30 s for a root disk."""

WAITING_SECONDS = 150.0
"""The same for a systemd that is starting: by default it waits up to 90 s for a job, and 120 s for
the network."""

ASK_SECONDS = 2.0
"""Between two runs of systemctl, which takes an emulated processor a tenth of a second."""

SETTLE_SECONDS = 5.0
"""How long to wait at the end for calls under way: one that has not returned is unknown."""

_POLL_SECONDS = 0.25
_NO_ANSWER = "unknown"
_UP = ("running", "degraded")
_DOWN = ("maintenance", "stopping")
_GO = Path("/proc/1/root/virtio-trace/armed")
_REASON = Path("/run/until")
_HOST = Path("/dev/ttyS1")
HOST_SAYS = b"end\n"
"""What the host sends to end the recording."""


@dataclass(frozen=True, slots=True)
class Look:
    """The guest at one moment. ``idle`` is the average idle time of its processors, in seconds: a
    slow or busy host stretches every other time. ``activity`` changes when a traced function is
    called or a module is loaded. ``system`` is systemctl's answer; "" if the first process is not
    systemd. ``asked``: the host asked for the end. ``printed`` changes when the console prints."""

    idle: float
    in_initrd: bool
    activity: str
    system: str = ""
    asked: bool = False
    printed: str = ""


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a recording ends; ``reached``: whether its condition was met."""

    reached: bool
    why: str


@dataclass(slots=True)
class StopCondition:
    """When a recording ends. ``kind`` is RUNNING, QUIET (for ``seconds``) or ASKED."""

    kind: str
    seconds: float = QUIET_SECONDS
    _activity: str = field(default="", init=False)
    _since: float = field(default=0.0, init=False)

    def met(self, look: Look) -> StopReason | None:
        """Why it ends; None if it does not. It must get every look, in order."""
        # The host waits for a text: whatever is printed may come before it.
        activity = look.activity + (look.printed if self.kind == ASKED else "")
        if activity != self._activity:
            self._activity, self._since = activity, look.idle
        quiet = look.idle - self._since
        if look.asked:
            return StopReason(True, "asked by the host")
        if self.kind == QUIET and quiet >= self.seconds:
            return StopReason(True, f"nothing happened for {self.seconds:g} s")
        if self.kind == ASKED:
            most = STUCK_SECONDS if look.in_initrd else WAITING_SECONDS
            why = f"nothing happened and nothing was printed for {most:g} s"
            return StopReason(False, why) if quiet >= most else None
        if self.kind != RUNNING:
            return None
        if look.in_initrd:
            if quiet < STUCK_SECONDS:
                return None
            return StopReason(
                False, f"still in the initrd, nothing happened for {STUCK_SECONDS:g} s"
            )
        if look.system in _UP:
            return StopReason(True, f"systemctl says {look.system}")
        if look.system in _DOWN:
            return StopReason(False, f"systemctl says {look.system}")
        if look.system and quiet >= WAITING_SECONDS:
            why = f"systemctl says {look.system}, nothing happened for {WAITING_SECONDS:g} s"
            return StopReason(False, why)
        if not look.system and quiet >= QUIET_SECONDS:
            why = f"the initrd is left, and nothing happened for {QUIET_SECONDS:g} s"
            return StopReason(True, why)
        return None


class Guest:
    """What can be seen of the guest. Only tests pass other folders."""

    def __init__(
        self, proc: Path = Path("/proc"), tracing: Path = Path("/sys/kernel/tracing")
    ) -> None:
        self._proc = proc
        self._tracing = tracing
        self._initrd = self._device()
        self._asked_at = 0.0
        self._system = ""

    def look(self, asked: bool) -> Look:
        """The guest now."""
        device = self._device()
        in_initrd = device is None or device == self._initrd
        now = time.monotonic()
        if not in_initrd and not self._is_systemd():
            self._system = ""
        elif not in_initrd and now - self._asked_at >= ASK_SECONDS:
            self._system = self._ask()
            self._asked_at = time.monotonic()
        return Look(self._idle(), in_initrd, self._activity(), self._system, asked, self._printed())

    def settle(self) -> None:
        """Waits until no module's init runs and no traced function was called since the last look,
        up to SETTLE_SECONDS."""
        before, deadline = "", time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            now = self._activity()
            if now == before and not self.is_loading():
                return
            before = now
            time.sleep(2 * _POLL_SECONDS)

    def is_loading(self) -> bool:
        """Whether a module's init runs, by its state in /proc/modules (proc(5))."""
        lines = (line.split() for line in _read(self._proc / "modules").splitlines())
        return any("Loading" in words[4:5] for words in lines)

    def _device(self) -> int | None:
        """The file system of the first process's root."""
        try:
            return (self._proc / "1/root").stat().st_dev
        except OSError:
            return None

    def _is_systemd(self) -> bool:
        """Whether the first process is systemd, by its file: it starts as /sbin/init."""
        try:
            return (self._proc / "1/exe").readlink().name == "systemd"
        except OSError:
            return False

    def _idle(self) -> float:
        """The second number in /proc/uptime is the sum over all processors (proc(5))."""
        words = _read(self._proc / "uptime").split()
        return float(words[1]) / (os.cpu_count() or 1) if len(words) > 1 else 0.0

    def _activity(self) -> str:
        """The probes' hit counters (Documentation/trace/kprobetrace.rst) and the modules."""
        names = (line.split(" ", 1)[0] for line in _read(self._proc / "modules").splitlines())
        return _read(self._tracing / "kprobe_profile") + " ".join(names)

    def _printed(self) -> str:
        """The bytes that the first serial port has sent (drivers/tty/serial/serial_core.c,
        uart_line_info): ``0: uart:16550A port:000003F8 irq:4 tx:1234 rx:0``."""
        lines = _read(self._proc / "tty/driver/serial").splitlines()
        words = next((line.split() for line in lines if line.startswith("0:")), [])
        return next((word for word in words if word.startswith("tx:")), "")

    def _ask(self) -> str:
        """``systemctl is-system-running`` in the root of the first process. systemd may not be
        ready to answer."""
        command = ["chroot", str(self._proc / "1/root"), "systemctl", "is-system-running"]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return _NO_ANSWER
        return done.stdout.decode("ascii", "replace").strip() or _NO_ANSWER


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _asked() -> Iterator[bool]:
    """Yields, for ever, whether the host has asked for the end on the recording's port."""
    handle = os.open(_HOST, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    said = b""
    while True:
        with contextlib.suppress(BlockingIOError):
            said += os.read(handle, 64)
        yield HOST_SAYS in said


def parse(words: list[str]) -> StopCondition:
    """Parses the command line. Raises ValueError."""
    kind, *rest = words
    if kind not in (RUNNING, QUIET, ASKED):
        raise ValueError(kind)
    return StopCondition(kind, *(float(word) for word in rest))


def main(words: list[str]) -> int:
    """Watches until the recording should end; writes the reason to /run/until."""
    criterion = parse(words)
    guest = Guest()
    asked = _asked()
    with _GO.open("wb", buffering=0) as go:
        go.write(b"armed\n")
    while True:
        enough = criterion.met(guest.look(next(asked)))
        if enough is not None:
            guest.settle()
            word = "yes" if enough.reached else "no"
            _REASON.write_text(f"{word}: {enough.why}\n", "utf-8")
            return 0
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
