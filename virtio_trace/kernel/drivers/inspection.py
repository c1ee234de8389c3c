# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's files say about VirtIO, as ``inspect`` shows it: drivers, transports, calls.

Plain data, which render/ prints. It is for people, unlike the evidence in a recording: bits and
types have names, and what is unknown has a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from virtio_trace.recording.evidence import VIRTIO_DEV_ANY_ID, DriverFacts, TransportFacts
from virtio_trace.virtio import features, numbers

SCHEMA = "virtio-trace/inspect/1"


@dataclass(frozen=True, slots=True)
class Driver:
    """A struct virtio_driver.

    For a built-in driver, ``facts.file`` is the kernel image and ``facts.module`` the module it
    would be if built as one, "" where the image does not say.
    """

    facts: DriverFacts

    @property
    def features(self) -> tuple[int, ...]:
        """Its feature bits, in the order of its table."""
        return self.facts.features or ()

    @property
    def features_legacy(self) -> tuple[int, ...]:
        """Its feature bits for legacy devices."""
        return self.facts.features_legacy or ()

    @property
    def device(self) -> int | None:
        """The device type that names its feature bits; None: it binds any type."""
        first = next(iter(self.facts.ids), (VIRTIO_DEV_ANY_ID, 0))[0]
        return None if first == VIRTIO_DEV_ANY_ID else first


@dataclass(frozen=True, slots=True)
class Transport:
    """A driver of another bus that adds devices to the VirtIO bus; see Driver if built in."""

    facts: TransportFacts
    builtin: bool = False


@dataclass(frozen=True, slots=True)
class CallFact:
    """A direct call, proven by a relocation in a module, or by its distance in a linked kernel.

    ``offset`` is that of the relocation or the distance, in bytes from the start of ``caller``;
    ``argument`` is the driver struct that is passed.
    """

    module: str
    caller: str | None
    callee: str
    offset: int
    argument: str | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that was found. ``image`` is the kernel image that was used.

    ``unread``: file to the reason why it could not be read; ``unknown``: sentences about what else
    is unknown, and why; ``builtin``: modules that are built in, from modules.builtin; ``files``:
    how many module files were opened, unread ones included.
    """

    release: str | None
    machine: str | None
    image: str | None = None
    drivers: tuple[Driver, ...] = ()
    transports: tuple[Transport, ...] = ()
    calls: tuple[CallFact, ...] = ()
    builtin: tuple[str, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    files: int = 0

    @property
    def nothing_read(self) -> bool:
        """Whether files were opened, none of them could be read, and nothing else was found."""
        found = self.drivers or self.transports or self.calls
        return bool(self.unread) and len(self.unread) >= self.files > 0 and not found

    def to_json(self) -> dict[str, Any]:
        """The document of ``inspect --format json``; unknown is null."""
        return {
            "schema": SCHEMA,
            "kernel": {"release": self.release, "machine": self.machine, "image": self.image},
            "transports": [_transport(transport) for transport in self.transports],
            "drivers": [_driver(driver) for driver in self.drivers],
            "calls": [_call(call) for call in self.calls],
            "builtin": list(self.builtin),
            "unread": self.unread,
            "unknown": list(self.unknown),
        }


def _driver(driver: Driver) -> dict[str, Any]:
    facts = driver.facts
    ids = [None if device == VIRTIO_DEV_ANY_ID else device for device, _ in facts.ids]
    return {
        **_common(facts, facts.builtin),
        "ids": ids,
        "types": [numbers.device_type(device) for device in ids],
        "matches": list(facts.matches),
        "aliases": list(facts.aliases),
        "features": _features(driver, driver.features),
        "features_legacy": _features(driver, driver.features_legacy),
        "functions": facts.functions,
        "init": facts.init,
        "build_id": facts.build_id,
    }


def _transport(transport: Transport) -> dict[str, Any]:
    facts = transport.facts
    return {
        **_common(facts, transport.builtin),
        "bus": facts.bus,
        "matches": list(facts.matches),
        "functions": facts.functions,
        "init": facts.init,
        "build_id": facts.build_id,
    }


def _common(facts: DriverFacts | TransportFacts, builtin: bool) -> dict[str, Any]:
    return {
        "name": facts.name,
        "module": facts.module or None,
        "file": facts.file,
        "builtin": builtin,
        "struct": facts.struct,
    }


def _features(driver: Driver, bits: tuple[int, ...]) -> list[dict[str, Any]]:
    return [{"bit": bit, "name": features.name(driver.device, bit)} for bit in bits]


def _call(call: CallFact) -> dict[str, Any]:
    return {
        "module": call.module or None,
        "from": call.caller,
        "to": call.callee,
        "offset": call.offset,
        "argument": call.argument,
    }
