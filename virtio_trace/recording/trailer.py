# SPDX-License-Identifier: GPL-2.0-or-later
"""The last line of a recording: how it ended, what was lost, and the machine's state then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from virtio_trace.recording.header import blacklist_of
from virtio_trace.recording.host_view import HostView
from virtio_trace.recording.json_types import (
    JsonObject,
    array,
    count,
    damaged,
    integer,
    member,
    obj,
    optional,
    string,
)
from virtio_trace.recording.machine_state import BlacklistRule, EndState, Log
from virtio_trace.recording.probe_state import ProbeState, probes_of

TRAILER = "trailer"


@dataclass(frozen=True, slots=True)
class Trailer:
    """``events`` counts the lines between header and trailer, ``lost`` the events that are missing.

    ``ended``: command, duration, interrupt or rebind. ``command_status`` is COMMAND's exit status.
    ``end_state`` (``final`` in the file), ``log`` and ``blacklist`` (``forbidden`` in the file, as
    in the header, now at the end): see machine_state.py. ``end_state_ns`` (``final_ns`` in the
    file): when the end state began to be read, CLOCK_MONOTONIC; None if no event came after it.
    ``host``: see host_view.py. ``rebinds``: the outcome of each ``--rebind``. None is unknown.
    """

    events: int
    lost: int
    ended: str
    probes: tuple[ProbeState, ...]
    command_status: int | None = None
    end_state: EndState | None = None
    log: Log | None = None
    host: HostView | None = None
    blacklist: tuple[BlacklistRule, ...] | None = None
    ended_ns: int | None = None
    rebinds: tuple[JsonObject, ...] | None = None
    end_state_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The whole line; unknown members are left out, except ``command_status``."""
        line = {
            "kind": TRAILER,
            "events": self.events,
            "lost": self.lost,
            "ended": self.ended,
            "command_status": self.command_status,
            "ended_ns": self.ended_ns,
            "probes": [state.to_json() for state in self.probes],
            "rebinds": None if self.rebinds is None else list(self.rebinds),
            "final": self.end_state.to_json() if self.end_state is not None else None,
            "final_ns": self.end_state_ns,
            "log": self.log.to_json() if self.log is not None else None,
            "forbidden": None
            if self.blacklist is None
            else [rule.to_json() for rule in self.blacklist],
            "host": self.host.to_json() if self.host is not None else None,
        }
        return {k: v for k, v in line.items() if v is not None or k == "command_status"}

    @classmethod
    def from_json(cls, raw: Any) -> Trailer:
        """The reverse of :meth:`to_json`. Raises BadInputError."""
        with damaged("trailer"):
            get = obj(raw).get
            rules, rebinds = get("forbidden"), get("rebinds")
            return cls(
                events=count(raw["events"]),
                lost=count(raw["lost"]),
                ended=string(raw["ended"]),
                probes=probes_of(raw["probes"]),
                command_status=optional(integer, get("command_status")),
                end_state=member("final", EndState.from_json, get("final")),
                end_state_ns=member("final_ns", count, get("final_ns")),
                log=member("log", Log.from_json, get("log")),
                host=member("host", HostView.from_json, get("host")),
                blacklist=None if rules is None else blacklist_of(rules),
                ended_ns=get("ended_ns") if type(get("ended_ns")) is int else None,
                rebinds=None if rebinds is None else tuple(map(obj, array(rebinds))),
            )
