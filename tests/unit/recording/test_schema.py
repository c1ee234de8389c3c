# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings survive a round trip, and members that a newer version adds are ignored."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, Line, dump, golden
from virtio_trace.check import verdict
from virtio_trace.check.profiles import PROFILES
from virtio_trace.errors import BadInputError
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.recording.header import Header
from virtio_trace.recording.probe_state import NOT_ARMED
from virtio_trace.recording.trailer import Trailer
from virtio_trace.recording.writer import Writer
from virtio_trace.report.summary import summarize

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]


def added(value: Any) -> Any:
    """VALUE with an unknown member added to every object."""
    if isinstance(value, dict):
        return {**{k: added(v) for k, v in value.items()}, "of a later version": [{"x": None}]}
    return [added(item) for item in value] if isinstance(value, list) else value


def without_names(value: Line) -> Line:
    """Objects whose members are named by the kernel, not by the schema."""
    kept: Line = json.loads(json.dumps(value))
    evidence = kept.get("evidence", {})
    maps = [evidence, *evidence.get("drivers", []), *evidence.get("transports", [])]
    maps += [kept["final"]] if kept.get("final") else []
    for holder in maps:
        for name in ("functions", "unread", "builtin_aliases", "autoprobe", "deferred"):
            if isinstance(holder.get(name), dict):
                holder[name].pop("of a later version", None)
    for state in (kept.get("snapshot"), kept.get("final")):
        for device in (state or {}).get("devices", ()):
            device.get("interrupts", {}).pop("of a later version", None)
    return kept


def shown(lines: list[Line]) -> list[Any]:
    """Everything that the commands compute from a recording."""
    graph = builder.build(reader.read(dump(lines), "schema"))
    return [summarize(graph), *(verdict.check(graph, profile) for profile in PROFILES)]


@pytest.mark.parametrize("name", NAMES)
def test_unknown_members_are_ignored_everywhere(name: str) -> None:
    lines = golden(name)
    assert shown([without_names(added(line)) for line in lines]) == shown(lines)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_is_written_back(name: str) -> None:
    read = reader.read(dump(golden(name)), name)
    assert read.trailer is not None
    out = io.BytesIO()
    writer = Writer(out)
    writer.header(read.header)
    writer.write(read.events)
    writer.trailer(read.trailer)
    again = reader.read(out.getvalue().splitlines(keepends=True), name)
    assert again == read
    assert Header.from_json(json.loads(out.getvalue().splitlines()[0])) == read.header
    assert Trailer.from_json(json.loads(out.getvalue().splitlines()[-1])) == read.trailer


@pytest.mark.parametrize("name", NAMES)
def test_the_writer_drops_nothing_from_the_file(name: str) -> None:
    lines = golden(name)
    header = Header.from_json(lines[0]).to_json()
    trailer = Trailer.from_json(lines[-1]).to_json()
    missing = {k for k, v in lines[0].items() if v is not None} - header.keys()
    assert missing <= {"arming_seconds"}
    assert {k for k, v in lines[-1].items() if v is not None} <= trailer.keys()


@pytest.mark.parametrize("armed_ns", [-1, "1", 1.0, True, 1 << 63])
def test_armed_ns_is_a_count(armed_ns: Any) -> None:
    lines = golden("debian-6.1")
    lines[0]["probes"][0]["armed_ns"] = armed_ns
    with pytest.raises(BadInputError, match="damaged list of probes"):
        reader.read(dump(lines), "damaged")


def test_an_unknown_state_is_damage() -> None:
    lines = golden("debian-6.1")
    lines[-1]["probes"][0]["state"] = "half armed"
    with pytest.raises(BadInputError, match="half armed"):
        reader.read(dump(lines), "damaged")
    lines[-1]["probes"][0]["state"] = NOT_ARMED
    reader.read(dump(lines), "whole")
