# SPDX-License-Identifier: GPL-2.0-or-later
"""Spans, read back by opentelemetry-proto."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from tests.unit.render.results import NAMES, recording, written
from tests.unit.surgery import change, dump, golden
from virtio_trace.check import named
from virtio_trace.check.scope import Asked
from virtio_trace.graph.calls import nest
from virtio_trace.recording import reader
from virtio_trace.recording.source import Source
from virtio_trace.render.otlp import collect, otlp

_IDS = ("traceId", "spanId", "parentSpanId")
TOP = Path(__file__).resolve().parents[3]


def _parsed(source: Source) -> tuple[dict[str, Any], list[Span]]:
    """The attributes of the resource, and the spans."""
    text = written(otlp, collect(source))
    assert text.count("\n") == 1 and text.isascii()
    raw = json.loads(text)
    for span in raw["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in _IDS:  # protobuf's own JSON has base64 where OTLP has hexadecimal digits
            if name in span:
                assert re.fullmatch(
                    r"[0-9a-f]{32}" if name == "traceId" else "[0-9a-f]{16}", span[name]
                )
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    data = json_format.ParseDict(raw, TracesData())
    (resource,) = data.resource_spans
    (scope,) = resource.scope_spans
    return _attributes(resource.resource), list(scope.spans)


def _attributes(message: Any) -> dict[str, Any]:
    keys = [pair.key for pair in message.attributes]
    assert len(set(keys)) == len(keys)
    return {pair.key: _value(pair.value) for pair in message.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)


@pytest.mark.parametrize("name", NAMES)
def test_every_call_is_a_span_inside_its_caller(name: str) -> None:
    read = recording(name)
    resource, spans = _parsed(read)
    assert resource["os.version"] == read.header.release
    calls = {id(call): call for _, call in nest(read.events) if call is not None}
    modules = sum(event.kind == "module" for event in read.events)
    assert len(spans) == 1 + len(calls) + modules
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    assert len({span.trace_id for span in spans}) == 1
    root, *rest = spans
    assert (root.name, root.parent_span_id) == ("recording", b"")
    for span in rest:
        outer = by_id[span.parent_span_id]
        assert outer.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert root.end_time_unix_nano >= span.end_time_unix_nano
    nested = {_attributes(s)["virtio_trace.seq"]: by_id[s.parent_span_id] for s in rest}
    for call in calls.values():
        parent = nested[call.event.seq]
        if call.parent is None:
            assert parent is root
        else:
            assert _attributes(parent)["virtio_trace.seq"] == call.parent.event.seq


def test_a_failed_call_is_an_error_and_has_its_device() -> None:
    _, spans = _parsed(recording("debian-6.1-failures"))
    (failed,) = (
        span for span in spans
        if span.name == "virtnet_validate" and span.status.code == Status.STATUS_CODE_ERROR
    )  # fmt: skip
    known = _attributes(failed)
    assert failed.status.message == known["error.type"] == "EINVAL"
    assert known["virtio.device.address"] == "0000:00:03.0"
    assert known["virtio.result"] == -22


def test_a_deferred_probe_is_no_error() -> None:
    """The failure above, with another result."""
    lines = golden("debian-6.1-failures")
    lines = change(lines, lambda line: line.get("result") == -22, result=-517)
    _, spans = _parsed(reader.read(dump(lines), "deferred"))
    codes = {s.status.code for s in spans if _attributes(s).get("virtio.result") == -517}
    assert codes == {Status.STATUS_CODE_UNSET}


def test_ids_are_those_of_the_recording() -> None:
    first, again = (_parsed(recording("debian-6.1"))[1] for _ in range(2))
    other = _parsed(recording("debian-6.12"))[1]
    assert [span.span_id for span in first] == [span.span_id for span in again]
    assert first[0].trace_id == again[0].trace_id != other[0].trace_id


def test_times_are_since_the_epoch_if_the_header_has_the_time_of_day() -> None:
    lines = golden("debian-6.1-live")
    resource, spans = _parsed(reader.read(dump(lines), "boot"))
    assert resource["virtio_trace.clock"] == "boot"
    boot = {_seq(span): span.start_time_unix_nano for span in spans}
    day = 1_790_000_000_000_000_000
    lines[0]["started_unix_ns"] = day
    resource, spans = _parsed(reader.read(dump(lines), "wall"))
    assert resource["virtio_trace.clock"] == "wall"
    shift = day - lines[0]["started_ns"]
    assert {_seq(s): s.start_time_unix_nano - shift for s in spans} == boot


def _seq(span: Span) -> Any:
    return _attributes(span).get("virtio_trace.seq", 0)


def test_of_one_device_only_its_calls_are_shown() -> None:
    read = recording("debian-6.1")
    scope = named.scope(read, ["0000:00:03.0"], [])
    _, spans = _parsed(Asked(read, scope))
    ids = {span.span_id for span in spans}
    addresses = {_attributes(span).get("virtio.device.address") for span in spans[1:]}
    assert "0000:00:03.0" in addresses and "0000:00:02.0" not in addresses
    assert all(span.parent_span_id in ids for span in spans[1:])


def test_every_attribute_is_documented() -> None:
    used = set()
    for name in NAMES:
        resource, spans = _parsed(recording(name))
        used |= resource.keys() | {key for span in spans for key in _attributes(span)}
    page = (TOP / "docs" / "ci.md").read_text("utf-8")
    told = set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))
    assert used <= told
    assert {name for name in told if name.startswith("virtio.")} <= used
