# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of one probe point, as header and trailer list it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from virtio_trace.recording.json_types import count, damaged, obj, objects, optional, string

ARMED = "armed"
WAITING = "waiting"
ABSENT = "absent"
NOT_ARMED = "not armed"
STATES = (ARMED, WAITING, ABSENT, NOT_ARMED)


@dataclass(frozen=True, slots=True)
class ProbeState:
    """``state`` is ``armed``, ``waiting`` (its module is not loaded), ``absent`` (this kernel was
    built without it) or ``not armed``, for the ``reason`` given.

    ``without`` says what is missed without it. ``missed`` counts the hits that the kernel could
    not report (kprobe_profile). ``armed_ns`` is when it was armed, CLOCK_MONOTONIC: earlier calls
    are not in the recording. None if no call can have come earlier, or if that is unknown.
    """

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
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Any) -> ProbeState:
        """Raises TypeError, ValueError, KeyError."""
        get = obj(raw).get
        state = string(raw["state"])
        if state not in STATES:
            raise ValueError(f"unknown state {state!r}")
        return cls(
            probe=string(raw["probe"]),
            function=optional(string, raw["function"]),
            module=optional(string, raw["module"]),
            state=state,
            reason=optional(string, get("reason")),
            without=string(get("without", "")),
            missed=count(get("missed", 0)),
            armed_ns=optional(count, get("armed_ns")),
        )


def probes_of(raw: Any) -> tuple[ProbeState, ...]:
    """A list of them. Raises BadInputError."""
    with damaged("list of probes"):
        return tuple(ProbeState.from_json(item) for item in objects(raw))
