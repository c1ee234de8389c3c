# SPDX-License-Identifier: GPL-2.0-or-later
"""When the recording of a third-party guest ends, by what its executor sees of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

RUNNING, QUIET, ASKED = "running", "quiet", "asked"

QUIET_SECONDS = 5.0
"""Idle processor time without a change of a device or a module after which the recording ends, if
there is no systemd to ask."""

STUCK_SECONDS = 60.0
"""The same for a system in its initrd: initramfs-tools waits 30 s for a root disk."""

WAITING_SECONDS = 150.0
"""The same for a systemd that is starting: by default it waits up to 90 s for a job, and 120 s for
the network."""

_UP = ("running", "degraded")
_DOWN = ("maintenance", "stopping")


@dataclass(frozen=True, slots=True)
class Until:
    """When a recording ends. ``kind`` is one of the above. ASKED with ``text``: the host ends it
    once the console has printed that text."""

    kind: str = RUNNING
    seconds: float = QUIET_SECONDS
    text: str = ""

    @property
    def words(self) -> str:
        """For a recording's header."""
        return f"{self.kind} {self.seconds:g}"


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
