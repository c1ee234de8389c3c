# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls of a recording as spans of OpenTelemetry: OTLP's JSON encoding, in one line.

The encoding is that of opentelemetry-proto (docs/specification.md, JSON Protobuf Encoding): ids in
hexadecimal, 64-bit integers as strings, enumerations as numbers. docs/ci.md lists the attributes.

A recording is a trace; its ids are made of the recording's content. Its root is a span for the
whole recording, and calls are nested as they were in the kernel. Times are since the epoch if the
recording says when it was made, otherwise since boot: ``virtio_trace.clock`` is then ``boot``.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, TextIO

import virtio_trace
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.graph.timeline import span
from virtio_trace.recording.events import Event
from virtio_trace.recording.source import Source
from virtio_trace.render.escape import escape
from virtio_trace.render.slices import name
from virtio_trace.render.spool import Spool
from virtio_trace.report.about import identity
from virtio_trace.report.state import State
from virtio_trace.report.summary import Host, Reporter, describe, follow
from virtio_trace.virtio import features, numbers

_INTERNAL = 1
"""SPAN_KIND_INTERNAL."""

_ERROR = 2
"""STATUS_CODE_ERROR."""

_DEFERRED = -517
"""-EPROBE_DEFER: the probe is to be tried again. That is no failure."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm32"}
"""OpenTelemetry's host.arch, where uname(2) has another name."""


def collect(recording: Source) -> Spans:
    """The spans of RECORDING. Raises BadInputError."""
    return follow(recording, Spans)


def otlp(found: Spans, out: TextIO) -> None:
    """Write FOUND: the resource, then the spans in the order in which the calls began."""
    out.write(f'{{"resourceSpans":[{{"resource":{_dump({"attributes": found.resource()})},')
    scope = {"name": "virtio-trace", "version": virtio_trace.__version__}
    out.write(f'"scopeSpans":[{{"scope":{_dump(scope)},"spans":[{found.root()}')
    for text in found.spans:
        out.write(f",{text}")
    out.write("]}]}]}\n")


class Spans(Reporter):
    """``spans`` has the text of each call."""

    places = True

    def __init__(self, complete: bool) -> None:
        super().__init__(complete)
        self.spans = Spool()
        self._first: int | None = None

    def begin(self, graph: Any) -> None:
        """The ids are of the recording that GRAPH will be of."""
        super().begin(graph)
        header = graph.recording.header
        self._identity = identity(graph.recording)
        self._shift = 0
        if header.started_unix_ns is not None and header.started_ns is not None:
            self._shift = header.started_unix_ns - header.started_ns

    def take(self, device: Device, state: State, host: Host) -> None:
        """Spans are of calls, not of devices."""

    def returned(self, call: Call) -> None:
        """Add the span of CALL, if it is asked for."""
        self._add(call, is_open=False)

    def end(self) -> None:
        """Add the calls that had not returned."""
        super().end()
        for call in self.graph.open_calls:
            self._add(call, is_open=True)

    def resource(self) -> list[dict[str, Any]]:
        """What all spans have in common: the kernel, and what the recording is worth."""
        recording = self.graph.recording
        header, known = recording.header, describe(recording)
        return _attributes(
            {
                "service.name": "virtio-trace",
                "service.version": virtio_trace.__version__,
                "os.type": "linux",
                "os.version": header.release,
                "host.arch": _ARCHITECTURES.get(header.machine, header.machine),
                "virtio_trace.clock": "wall" if self._shift else "boot",
                "virtio_trace.complete": bool(known["complete"]),
                "virtio_trace.lost": int(known["lost"]),
            }
        )

    def root(self) -> str:
        """The span of the recording, from its first to its last event."""
        ended = self.graph.ended_ns
        times = (self.graph.recording.header.started_ns, self._first, ended)
        began = min(ns for ns in times if ns is not None)
        return _dump(
            self._span(0, "recording", began, max(began, ended))
            | {"attributes": _attributes({"virtio_trace.events": self.graph.recording.count})}
        )

    def _add(self, call: Call, is_open: bool) -> None:
        event = call.event
        if not (self.scope.is_all or self.scope.shows(event)):
            return
        found = span(call, self.graph.ended_ns)
        if self._first is None or found.start_ns < self._first:
            self._first = found.start_ns
        outer = call.parent
        while outer is not None and not (self.scope.is_all or self.scope.shows(outer.event)):
            outer = outer.parent
        seq = outer.event.seq if outer is not None else 0
        made = self._span(event.seq, escape(name(event)), found.start_ns, found.end_ns)
        made["parentSpanId"] = self._span_id(seq)
        made["attributes"] = _attributes(_known(call, is_open))
        result = call.result
        if result is not None and result < 0 and result != _DEFERRED:
            errno = numbers.errno_name(result) or str(result)
            made["status"] = {"code": _ERROR, "message": errno}
        self.spans.add(event.seq, _dump(made))

    def _span(self, seq: int, called: str, start: int, end: int) -> dict[str, Any]:
        return {
            "traceId": self._identity,
            "spanId": self._span_id(seq),
            "name": called,
            "kind": _INTERNAL,
            "startTimeUnixNano": str(start + self._shift),
            "endTimeUnixNano": str(end + self._shift),
        }

    def _span_id(self, seq: int) -> str:
        """Of the call whose first event is SEQ; 0 is the recording."""
        return sha256(f"{self._identity}/{seq}".encode()).hexdigest()[:16]


def _known(call: Call, is_open: bool) -> dict[str, Any]:
    event, result = call.event, call.result
    ref = event.device
    known: dict[str, Any] = {
        "code.function.name": event.function,
        "thread.id": event.tid,
        "thread.name": event.comm,
        "cpu.logical_number": event.cpu,
        "virtio.probe_point": event.probe,
        "virtio.module": event.module,
        "virtio.driver": event.driver,
        "virtio.result": result,
        "error.type": numbers.errno_name(result) if result is not None and result < 0 else None,
        "virtio_trace.seq": event.seq,
        "virtio_trace.entry_lost": True if call.entry is None else None,
        "virtio_trace.open": True if is_open else None,
        "virtio_trace.return_lost": True if call.is_lost else None,
    }
    if ref is not None:
        known |= {
            "virtio.device.address": ref.address,
            "virtio.device.bus": ref.bus,
            "virtio.device.name": None if ref.index is None else f"virtio{ref.index}",
            "virtio.device.type": None if ref.id is None else numbers.device_type(ref.id),
        }
    for seen in (call.entry, call.ret):
        if seen is not None and seen.detail is not None:
            known |= _detail(seen, None if ref is None else ref.id)
    return known


def _detail(event: Event, kind: int | None) -> dict[str, Any]:
    """What EVENT shows of the negotiation with a device of type KIND."""
    detail = event.detail
    assert detail is not None
    shown: dict[str, Any] = {
        "virtio.features.bits": detail.features,
        "virtio.queue.count": detail.count,
        "virtio.queue.index": detail.queue,
        "virtio.queue.size": detail.size,
        "virtio.queue.vector": detail.vector,
        "virtio.module" if detail.queue is None else "virtio.queue.name": detail.name,
    }
    if detail.status is not None:
        shown["virtio.status"] = detail.status
        shown["virtio.status.names"] = numbers.status_names(detail.status)
    if detail.features is not None:
        bits = numbers.bits(int(detail.features, 16))
        shown["virtio.features.names"] = features.names(kind, bits)
    return {name: value for name, value in shown.items() if value is not None}


def _attributes(known: dict[str, Any]) -> list[dict[str, Any]]:
    """KNOWN without None, as a list of KeyValue messages."""
    return [
        {"key": key, "value": _value(value)} for key, value in known.items() if value is not None
    ]


def _value(value: Any) -> dict[str, Any]:
    """An AnyValue message."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, str):
        return {"stringValue": escape(value)}
    return {"arrayValue": {"values": [_value(item) for item in value]}}


def _dump(thing: Any) -> str:
    return json.dumps(thing, separators=(",", ":"))
