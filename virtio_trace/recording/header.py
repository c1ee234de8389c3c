# SPDX-License-Identifier: GPL-2.0-or-later
"""The first and the last line of a recording: what its schema holds, written and read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.recording.events import Event
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.host_view import HostView
from virtio_trace.recording.machine_state import Final, Forbidden, Initrd, Log

SCHEMA = "virtio-trace/recording/1"
TRAILER = "trailer"
_COUNT_END = 1 << 63


ARMED = "armed"


WAITING = "waiting"


ABSENT = "absent"


NOT_ARMED = "not armed"


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What became of one probe point: ``armed``, ``waiting`` (its module has not come),
    ``absent`` (this kernel was built without it) or ``not armed``, with the reason. ``without``
    says what is not seen without it; ``missed`` counts the hits that the kernel could not report
    (kprobe_profile). ``armed_ns`` is when it was armed, CLOCK_MONOTONIC: earlier calls are not in
    the recording. None where no call can have come before, or where that is unknown."""

    probe: str
    function: str | None
    module: str | None
    state: str
    reason: str | None = None
    without: str = ""
    missed: int = 0
    armed_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        """All members, for header and trailer."""
        return {name: getattr(self, name) for name in ProbeState.__slots__}

    @classmethod
    def from_json(cls, raw: Any) -> ProbeState:
        """Raises BadInputError."""
        try:
            state = cls(**raw)
        except TypeError as error:
            raise BadInputError("damaged list of probes") from error
        strings = (state.probe, state.without)
        perhaps = (state.function, state.module, state.reason)
        if (
            state.state not in (ARMED, WAITING, ABSENT, NOT_ARMED)
            or not _is_count(state.missed)
            or not (state.armed_ns is None or _is_count(state.armed_ns))
            or any(type(value) is not str for value in strings)
            or any(value is not None and type(value) is not str for value in perhaps)
        ):
            raise BadInputError(f"damaged list of probes: {state.probe!r}")
        return state


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. ``snapshot`` is the VirtIO bus as sysfs showed it when the probes had just
    been armed, at ``snapshot_ns``. ``boot``: what became of the probe points of the events that the
    kernel itself recorded at boot, where it was made to. ``forbidden``: what keeps modules from
    being loaded, None where that was not looked for. ``initrd``: see aftermath.py.
    ``user_space_ns``: when the first process began, where the probes were armed before that;
    CLOCK_MONOTONIC."""

    release: str
    machine: str
    evidence: Evidence
    probes: tuple[ProbeState, ...]
    snapshot: dict[str, Any]
    raw: dict[str, Any]
    started_ns: int | None = None
    forbidden: tuple[Forbidden, ...] | None = None
    initrd: Initrd | None = None
    snapshot_ns: int | None = None
    boot: tuple[ProbeState, ...] = ()
    user_space_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last line. ``ended``: command, duration, interrupt, rebind; ``command_status``: COMMAND's
    own; ``final`` and ``log``: see aftermath.py; ``host``: see hostview.py; ``forbidden``: as in
    the header, now at the end."""

    events: int
    lost: int
    ended: str
    probes: tuple[ProbeState, ...]
    command_status: int | None = None
    final: Final | None = None
    log: Log | None = None
    host: HostView | None = None
    forbidden: tuple[Forbidden, ...] | None = None


@dataclass(slots=True)
class Recording:
    """A recording in memory. ``trailer`` is None where the file was cut."""

    header: Header
    events: list[Event] = field(default_factory=list)
    trailer: Trailer | None = None

    @property
    def probes(self) -> tuple[ProbeState, ...]:
        """As they were at the end, or as far as the file tells; and those that were to be armed at
        boot, but were not, or missed hits."""
        blind = tuple(p for p in self.header.boot if p.state == NOT_ARMED or p.missed)
        return (self.trailer.probes if self.trailer else self.header.probes) + blind

    @property
    def lost(self) -> int:
        """Events known to be lost: those that the kernel counted, and numbers that are missing."""
        gaps = self.events[-1].seq - len(self.events) if self.events else 0
        if self.trailer is None:
            return gaps
        return max(gaps, self.trailer.lost, self.trailer.events - len(self.events))


def _is_count(value: Any) -> bool:
    """An integer that fits where the kernel's do."""
    return type(value) is int and 0 <= value < _COUNT_END
