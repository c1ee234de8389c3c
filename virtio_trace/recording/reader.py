# SPDX-License-Identifier: GPL-2.0-or-later
"""The file: JSON Lines: header, an event a line, trailer. Written as it goes, readable when cut.

A recording is evidence. Nothing in it is derived: the graph and the verdict are computed when it
is read, so that a better checker reads old recordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.recording import machine_state
from virtio_trace.recording.events import EventReader
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.header import (
    SCHEMA,
    TRAILER,
    Header,
    ProbeState,
    Recording,
    Trailer,
    _is_count,
)
from virtio_trace.recording.host_view import host_from_json

_BEGIN = f'{{"schema":"{SCHEMA}"'.encode()


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
        forbidden=None if forbidden is None else machine_state.forbidden_from_json(forbidden),
        initrd=machine_state.initrd_from_json(raw.get("initrd")),
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


def _trailer(raw: dict[str, Any]) -> Trailer:
    try:
        forbidden = raw.get("forbidden")
        trailer = Trailer(
            events=raw["events"],
            lost=raw["lost"],
            ended=raw["ended"],
            probes=tuple(ProbeState.from_json(p) for p in raw["probes"]),
            command_status=raw.get("command_status"),
            final=machine_state.final_from_json(raw.get("final")),
            log=machine_state.log_from_json(raw.get("log")),
            host=host_from_json(raw.get("host")),
            forbidden=None if forbidden is None else machine_state.forbidden_from_json(forbidden),
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
