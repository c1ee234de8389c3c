# SPDX-License-Identifier: GPL-2.0-or-later
"""The first line of a recording: what was known once the probes were armed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from virtio_trace.recording.bus_state import BusState
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.json_types import (
    count,
    damaged,
    member,
    obj,
    objects,
    optional,
    string,
)
from virtio_trace.recording.machine_state import BlacklistRule, Initrd
from virtio_trace.recording.probe_state import ProbeState, probes_of

SCHEMA = "virtio-trace/recording/1"
CLOCK = "CLOCK_MONOTONIC"
_HINT = "the file was changed or damaged"


@dataclass(frozen=True, slots=True)
class BootEvents:
    """What was read of the events that the kernel recorded at boot.

    ``events`` counts them, ``lost`` those that are missing. ``probes`` has the state of each probe
    point at boot. ``foreign`` counts definitions on the command line that were made for another
    kernel (``strange`` in the file). ``reason``: why nothing could be read.
    """

    events: int = 0
    lost: int = 0
    reason: str | None = None
    foreign: int = 0
    probes: tuple[ProbeState, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The header's ``boot``."""
        return {
            "events": self.events,
            "lost": self.lost,
            "reason": self.reason,
            "strange": self.foreign,
            "probes": [state.to_json() for state in self.probes],
        }

    @classmethod
    def from_json(cls, raw: Any) -> BootEvents:
        """Raises TypeError, KeyError, BadInputError."""
        get = obj(raw).get
        return cls(
            count(get("events", 0)),
            count(get("lost", 0)),
            optional(string, get("reason")),
            count(get("strange", 0)),
            probes_of(raw["probes"]),
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a recording. Times are nanoseconds of CLOCK_MONOTONIC; None is unknown.

    ``snapshot`` is the VirtIO bus when the probes had just been armed, at ``snapshot_ns``.
    ``boot``: the events that the kernel recorded at boot, None if it was not asked to.
    ``blacklist`` is what keeps modules from being loaded (``forbidden`` in the file), None if that
    was not read. ``initrd``: the initrd that the first process was in, if any.
    ``started_unix_ns`` is CLOCK_REALTIME at ``started_ns``.
    ``user_space_ns``: when the first process started, if probes were armed before that.
    ``collector`` is ``ftrace`` for a guest without an agent. ``program`` is what compiled the BPF
    program, and when: ``BCC 0.26.0, cache``. ``arming_seconds``: the time that each
    phase of arming took.
    """

    release: str
    machine: str
    evidence: Evidence
    probes: tuple[ProbeState, ...]
    snapshot: BusState
    started_ns: int | None = None
    blacklist: tuple[BlacklistRule, ...] | None = None
    initrd: Initrd | None = None
    snapshot_ns: int | None = None
    boot: BootEvents | None = None
    user_space_ns: int | None = None
    tool: str | None = None
    collector: str | None = None
    program: str | None = None
    arming_seconds: dict[str, float] | None = None
    command: tuple[str, ...] = ()
    started_unix_ns: int | None = None

    @property
    def boot_probes(self) -> tuple[ProbeState, ...]:
        """The state of each probe point at boot."""
        return self.boot.probes if self.boot is not None else ()

    @property
    def is_of_boot(self) -> bool:
        """Whether the recording begins while the machine boots: events of the kernel's own, or a
        recorder that ``virtio-trace boot`` starts before the first module or in the initrd."""
        own = self.boot is not None and self.boot.events > 0
        started = self.command[:1] in (("/virtio-trace/drive",), ("until",))
        return own or started or self.user_space_ns is not None or self.initrd is not None

    def to_json(self) -> dict[str, Any]:
        """The whole line; unknown members are left out, except ``boot``."""
        rules = self.blacklist
        line = {
            "schema": SCHEMA,
            "tool": self.tool,
            "collector": self.collector,
            "program": self.program,
            "kernel": {"release": self.release, "machine": self.machine},
            "clock": CLOCK,
            "started_ns": self.started_ns,
            "started_unix_ns": self.started_unix_ns,
            "user_space_ns": self.user_space_ns,
            "arming_seconds": self.arming_seconds,
            "probes": [state.to_json() for state in self.probes],
            "snapshot": self.snapshot.to_json(),
            "snapshot_ns": self.snapshot_ns,
            "boot": self.boot.to_json() if self.boot is not None else None,
            "evidence": self.evidence.to_json(),
            "forbidden": None if rules is None else [rule.to_json() for rule in rules],
            "initrd": self.initrd.to_json() if self.initrd is not None else None,
            "command": list(self.command),
        }
        return {k: v for k, v in line.items() if v is not None or k == "boot"}

    @classmethod
    def from_json(cls, raw: Any) -> Header:
        """The reverse of :meth:`to_json`. Raises BadInputError.

        ``tool``, ``collector``, ``program``, ``arming_seconds`` and ``command`` are only shown to
        people. If one of them is damaged, it is unknown, and the rest is still read.
        """
        with damaged("header", _HINT):
            kernel, get = obj(raw["kernel"]), obj(raw).get
            rules, command, tool = get("forbidden"), get("command"), get("tool")
            return cls(
                release=string(kernel["release"]),
                machine=string(kernel["machine"]),
                evidence=Evidence.from_json(raw["evidence"]),
                probes=probes_of(raw["probes"]),
                snapshot=BusState.from_json(raw["snapshot"]),
                started_ns=member("started_ns", count, get("started_ns")),
                blacklist=None if rules is None else blacklist_of(rules),
                initrd=member("initrd", Initrd.from_json, get("initrd")),
                snapshot_ns=member("snapshot_ns", count, get("snapshot_ns")),
                boot=member("boot", BootEvents.from_json, get("boot") or None),
                user_space_ns=member("user_space_ns", count, get("user_space_ns")),
                arming_seconds=_seconds(get("arming_seconds")),
                tool=tool if type(tool) is str else None,
                collector=get("collector") if type(get("collector")) is str else None,
                program=get("program") if type(get("program")) is str else None,
                command=tuple(map(str, command)) if type(command) is list else (),
                started_unix_ns=member("started_unix_ns", count, get("started_unix_ns")),
            )


def blacklist_of(raw: Any) -> tuple[BlacklistRule, ...]:
    """The list ``forbidden`` of header and trailer. Raises BadInputError."""
    with damaged("list of forbidden modules"):
        return tuple(BlacklistRule.from_json(item) for item in objects(raw))


def _seconds(raw: Any) -> dict[str, float] | None:
    if type(raw) is not dict or any(type(value) not in (int, float) for value in raw.values()):
        return None
    return raw if all(map(isfinite, raw.values())) else None
