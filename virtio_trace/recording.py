# SPDX-License-Identifier: GPL-2.0-or-later
"""The file: JSON Lines: header, an event a line, trailer. Written as it goes, readable when cut.

A recording is evidence. Nothing in it is derived: the graph and the verdict are computed when it
is read, so that a better checker reads old recordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from virtio_trace import aftermath
from virtio_trace.aftermath import Final, Forbidden, Initrd, Log
from virtio_trace.errors import BadInputError
from virtio_trace.events import Event, EventReader
from virtio_trace.evidence import Evidence
from virtio_trace.hostview import HostView, host_from_json
from virtio_trace.procedure import NEEDED

SCHEMA = "virtio-trace/recording/1"
TRAILER = "trailer"
_BEGIN = f'{{"schema":"{SCHEMA}"'.encode()
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
    (kprobe_profile)."""

    probe: str
    function: str | None
    module: str | None
    state: str
    reason: str | None = None
    without: str = ""
    missed: int = 0

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

    @property
    def complete(self) -> bool:
        """Whether everything that happened on an armed probe is here."""
        trailer = self.trailer
        whole = trailer is not None and trailer.events == len(self.events)
        blind = any(probe.probe in NEEDED for probe in self.unseen)
        return whole and self.lost == 0 and not blind

    @property
    def unseen(self) -> tuple[ProbeState, ...]:
        """Probe points that were not armed, or missed hits."""
        return tuple(p for p in self.probes if p.state == NOT_ARMED or p.missed)


class Writer:
    """Writes a recording line by line; every line leaves at once, so that a death loses none."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.events = 0

    def header(self, header: dict[str, Any]) -> None:
        """Write the first line; ``schema`` is put in front."""
        self._line({"schema": SCHEMA, **header})

    def write(self, events: Iterable[Event]) -> None:
        """Write events, in their order."""
        lines = [_dump(event.to_json()) for event in events]
        self.events += len(lines)
        if lines:
            self._stream.write(b"".join(lines))
            self._stream.flush()

    def trailer(self, trailer: dict[str, Any]) -> None:
        """Write the last line; the count of events is put in."""
        self._line({"kind": TRAILER, "events": self.events, **trailer})

    def _line(self, line: dict[str, Any]) -> None:
        self._stream.write(_dump(line))
        self._stream.flush()


def read(lines: Iterable[bytes], name: str) -> Recording:
    """Read a recording; NAME is for messages. Raises BadInputError.

    The last line may be cut anywhere (the recorder died): what stands before it is read. Any
    other line that is not what it should be condemns the file.
    """
    numbered = _whole_lines(lines, name)
    recording = Recording(_header(numbered, name))
    reader = EventReader()
    last = 0
    for number, raw in numbered:
        try:
            if recording.trailer is not None:
                raise BadInputError("something follows the trailer")
            if raw.get("kind") == TRAILER:
                recording.trailer = _trailer(raw)
                continue
            event = reader.event(raw)
            if event.seq <= last:
                raise BadInputError(f"sequence number {event.seq} after {last}")
        except BadInputError as error:
            raise BadInputError(
                f"{name}: line {number}: {error}", error.hint or "the file was changed or damaged"
            ) from error
        last = event.seq
        recording.events.append(event)
    return recording


def _whole_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    decode = json.JSONDecoder().decode
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            if number == 1 and line and not _BEGIN.startswith(line[: len(_BEGIN)]):
                raise _not_json(number, name)
            return  # cut short: the last line that was being written
        try:
            raw = decode(line.decode())
        except (ValueError, RecursionError) as error:
            raise _not_json(number, name) from error
        if type(raw) is not dict:
            raise _not_json(number, name)
        yield number, raw


def _not_json(number: int, name: str) -> BadInputError:
    if number == 1:
        return BadInputError(
            f"{name}: not a virtio-trace recording", "make one: virtio-trace record -o FILE"
        )
    return BadInputError(f"{name}: line {number} is no JSON object", "the file was damaged")


def _header(numbered: Iterator[tuple[int, dict[str, Any]]], name: str) -> Header:
    first = next(numbered, None)
    if first is None:
        raise BadInputError(
            f"{name}: empty, or cut within its first line", "record again: nothing was kept"
        )
    raw = first[1]
    schema = raw.get("schema")
    if schema is None:
        raise _not_json(1, name)
    if schema != SCHEMA:
        raise BadInputError(
            f"{name}: unknown schema {schema!r}", f"this virtio-trace reads {SCHEMA}"
        )
    try:
        return _header_of(raw)
    except (KeyError, TypeError, BadInputError) as error:
        raise BadInputError(
            f"{name}: damaged header: {error}", "the file was changed or damaged"
        ) from error


def _header_of(raw: dict[str, Any]) -> Header:
    kernel, started, forbidden = raw["kernel"], raw.get("started_ns"), raw.get("forbidden")
    if type(kernel["release"]) is not str or type(kernel["machine"]) is not str:
        raise TypeError("kernel")
    for name in ("started_ns", "snapshot_ns", "user_space_ns"):
        if raw.get(name) is not None and not _is_count(raw[name]):
            raise TypeError(name)
    boot = raw.get("boot") or {"probes": ()}
    return Header(
        release=kernel["release"],
        machine=kernel["machine"],
        evidence=Evidence.from_json(raw["evidence"]),
        probes=tuple(ProbeState.from_json(p) for p in raw["probes"]),
        snapshot=_snapshot(raw["snapshot"]),
        raw=raw,
        started_ns=started,
        forbidden=None if forbidden is None else aftermath.forbidden_from_json(forbidden),
        initrd=aftermath.initrd_from_json(raw.get("initrd")),
        snapshot_ns=raw.get("snapshot_ns"),
        boot=tuple(ProbeState.from_json(p) for p in boot["probes"]),
        user_space_ns=raw.get("user_space_ns"),
    )


def _snapshot(raw: Any) -> dict[str, Any]:
    if type(raw) is not dict or type(raw["bus"]) is not bool:
        raise TypeError("snapshot")
    _bus(raw["devices"], raw["drivers"], "snapshot")
    return dict(raw)


def _bus(devices: Any, drivers: Any, where: str) -> None:
    for device in devices:
        if type(device) is not dict or not _are(device, str, "address", "name"):
            raise TypeError(f"{where}'s devices")
        pci = device.get("pci")
        if (
            not _are_or_null(device, str, "bus", "driver")
            or not _are_or_null(device, int, "index", "id", "vendor")
            or (pci is not None and not _is_pci(pci))
        ):
            raise TypeError(f"{where}'s devices")
    for driver in drivers:
        if type(driver) is not dict or not _are(driver, str, "name"):
            raise TypeError(f"{where}'s drivers")
        if not _are_or_null(driver, str, "module"):
            raise TypeError(f"{where}'s drivers")


def _are(raw: dict[str, Any], kind: type, *names: str) -> bool:
    return all(type(raw.get(name)) is kind for name in names)


def _are_or_null(raw: dict[str, Any], kind: type, *names: str) -> bool:
    values = [raw[name] for name in names if raw.get(name) is not None]
    return all(type(value) is kind and (kind is not int or _is_count(value)) for value in values)


def _is_pci(raw: Any) -> bool:
    if type(raw) is not dict:
        return False
    modern = raw.get("modern")
    numbers = [name for name in raw if name != "modern"]
    return _are_or_null(raw, int, *numbers) and (modern is None or type(modern) is bool)


def _is_count(value: Any) -> bool:
    """An integer that fits where the kernel's do."""
    return type(value) is int and 0 <= value < _COUNT_END


def _trailer(raw: dict[str, Any]) -> Trailer:
    try:
        forbidden = raw.get("forbidden")
        trailer = Trailer(
            events=raw["events"],
            lost=raw["lost"],
            ended=raw["ended"],
            probes=tuple(ProbeState.from_json(p) for p in raw["probes"]),
            command_status=raw.get("command_status"),
            final=aftermath.final_from_json(raw.get("final")),
            log=aftermath.log_from_json(raw.get("log")),
            host=host_from_json(raw.get("host")),
            forbidden=None if forbidden is None else aftermath.forbidden_from_json(forbidden),
        )
        if trailer.final is not None:
            _bus(trailer.final.devices, trailer.final.drivers, "final")
    except (KeyError, TypeError) as error:
        raise BadInputError(f"damaged trailer: {error}") from error
    status = trailer.command_status
    if not _is_count(trailer.events) or not _is_count(trailer.lost):
        raise BadInputError("damaged trailer: its counts are no numbers")
    if type(trailer.ended) is not str or (status is not None and type(status) is not int):
        raise BadInputError("damaged trailer")
    return trailer


def _dump(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
