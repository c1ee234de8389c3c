# SPDX-License-Identifier: GPL-2.0-or-later
"""The differences between two recordings as data (``diff --format json``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA = "virtio-trace/diff/1"

DEVICE, DRIVER, STATE, STEPS, ATTEMPTS = "device", "driver", "state", "steps", "attempts"
FEATURES, STATUS, QUEUES, FUNCTIONS = "features", "status", "queues", "functions"
ORDER, TIME = "order", "time"
KINDS = (
    DEVICE, DRIVER, STATE, STEPS, ATTEMPTS, FEATURES, STATUS, QUEUES, FUNCTIONS, ORDER, TIME,
)  # fmt: skip
"""What may differ, in the order in which it is shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs. ``subject`` is an address or a driver; ``what`` names a part of ``kind``.
    ``old`` and ``new`` are the two values, or what is in one alone, ready for JSON; None is
    nothing. The events ``old_seqs`` and ``new_seqs`` show them."""

    kind: str
    subject: str
    what: str
    old: Any
    new: Any
    message: str
    old_seqs: tuple[int, ...] = ()
    new_seqs: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Its members."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "what": self.what,
            "old": self.old,
            "new": self.new,
            "message": self.message,
            "events": {"old": list(self.old_seqs), "new": list(self.new_seqs)},
        }


@dataclass(frozen=True, slots=True)
class Unknown:
    """What could not be compared. ``kind`` and ``subject`` are empty if that is everything."""

    kind: str
    subject: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """Its members."""
        return {"kind": self.kind, "subject": self.subject, "message": self.message}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the recordings. ``called`` stands for it in messages."""

    called: str
    file: str
    release: str
    machine: str | None
    devices: int
    drivers: int

    def to_json(self) -> dict[str, Any]:
        """Its members."""
        return {
            "file": self.file,
            "kernel": {"release": self.release, "machine": self.machine},
            "devices": self.devices,
            "drivers": self.drivers,
        }


@dataclass(slots=True)
class Diff:
    """Two recordings compared. ``compared`` has the kind and subject of every comparison."""

    old: Side
    new: Side
    compared: list[tuple[str, str]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)

    @property
    def same(self) -> bool | None:
        """Whether nothing differs; None if nothing known does, but not all is known."""
        if self.differences:
            return False
        return None if self.unknown else True

    def to_json(self) -> dict[str, Any]:
        """The document of ``diff --format json``."""
        return {
            "schema": SCHEMA,
            "same": self.same,
            "old": self.old.to_json(),
            "new": self.new.to_json(),
            "differences": [one.to_json() for one in self.differences],
            "unknown": [one.to_json() for one in self.unknown],
        }
