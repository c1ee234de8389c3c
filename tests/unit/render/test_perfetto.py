# SPDX-License-Identifier: GPL-2.0-or-later
"""report --format perfetto keeps the rules of the Trace Event Format, read by a strict reader."""

from __future__ import annotations

import io
import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from tests.unit.render import traceevents
from tests.unit.render.traceevents import Events, tracks
from tests.unit.surgery import GOLDEN, Line, at, dump, entry_lost, golden, remove
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render.perfetto import collect, perfetto
from virtio_trace.report import summary

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]


def written(lines: list[Line]) -> str:
    """The trace of a recording."""
    out = io.StringIO()
    perfetto(collect(reader.read(dump(lines), "test")), out)
    return out.getvalue()


def drawn(lines: list[Line]) -> Events:
    """The same, parsed."""
    return traceevents.read(written(lines))


def seqs(events: Events, process: int) -> Counter[int]:
    """How often something in PROCESS refers to each event of the recording."""
    return Counter(
        seq
        for event in events
        if event["pid"] == process and event["ph"] != "M"
        for seq in event.get("args", {}).get("events", [])
    )


@pytest.mark.parametrize("name", NAMES)
def test_real_recordings_keep_the_rules(name: str) -> None:
    lines = golden(name)
    events = drawn(lines)
    shown = tracks(events)
    numbers = [line["seq"] for line in lines[1:-1]]
    assert seqs(events, 2) == Counter(numbers)  # by thread: each event once, none left out
    empty = summary.summarize(builder.build(reader.read(dump(lines), "test")))["empty_slots"]
    devices = ((line["seq"], line["device"]["address"]) for line in lines[1:-1] if "device" in line)
    about = [seq for seq, address in devices if address not in empty]
    assert seqs(events, 1) == Counter(about)
    # the calls of a thread need one track if all returned
    assert not [track for _, track in shown if track.endswith(")")]


@pytest.mark.parametrize("name", NAMES)
def test_durations_are_those_of_the_report(name: str) -> None:
    lines = golden(name)
    lost = entry_lost(lines)
    found = summary.summarize(builder.build(reader.read(dump(lines), "test")))
    shown = tracks(drawn(lines))
    for (address, generation), bindings in _by_device(found["bindings"]).items():
        of = [
            slices
            for (process, track), slices in shown.items()
            if process == "VirtIO devices"
            and track.startswith(address)
            and track.partition(" generation ")[2] == str(generation or "")
        ]
        assert len(of) == 1
        for cat, known in (
            ("virtio_dev_probe", [b["duration_ns"] for b in bindings]),
            ("driver_probe", _phases(bindings, "driver_probe")),
            ("driver_validate", _phases(bindings, "validate")),
        ):
            took = [
                end - start
                for begun, start, end in of[0]
                if begun["cat"] == cat and lost.isdisjoint(begun["args"]["events"])
            ]
            assert took == known


def _by_device(bindings: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for binding in bindings:
        found[binding["device"], binding["generation"]].append(binding)
    return found


def _phases(bindings: list[dict[str, Any]], name: str) -> list[int]:
    phases = [phase for b in bindings for phase in b["phases"] or []]
    return [phase["duration_ns"] for phase in phases if phase["name"] == name]


def test_every_device_has_a_track_that_says_how_it_ended() -> None:
    lines = golden("debian-6.1-reasons")
    found = summary.summarize(builder.build(reader.read(dump(lines), "test")))
    ends = [e for e in drawn(lines) if e.get("name", "").startswith("at the end: ")]
    states = [d for d in found["devices"] if d["state"] != "removed"]
    assert [e["name"] for e in ends] == [f"at the end: {d['state']}" for d in states]
    assert [e["args"].get("reason") for e in ends] == [d["reason"] for d in states]


def test_status_writes_and_matches_are_instants() -> None:
    lines = golden("debian-6.1")
    moments = [e for e in drawn(lines) if e["ph"] == "i" and e["pid"] == 1]
    names = Counter(e["cat"] for e in moments)
    for probe in ("set_status", "reset", "get_features"):
        assert names[probe] == len([e for e in lines if at(probe)(e)]) > 0
    matches = [e for e in lines if at("virtio_dev_match", kind="entry")(e)]
    assert names["virtio_dev_match"] == len(matches) > 0
    loads = [e for e in drawn(lines) if e.get("name", "").startswith("load module ")]
    assert len(loads) == len([e for e in lines if e.get("kind") == "module"]) > 0


def test_a_call_that_had_not_returned_ends_with_the_recording() -> None:
    lines = golden("debian-6.1")
    last = next(n for n, e in enumerate(lines) if at("driver_probe", kind="entry")(e)) + 4
    shown = tracks(drawn(lines[: last + 1]))
    track = next(found for (_, name), found in shown.items() if name.startswith("0000:00:02.0"))
    open_ = [(begun["cat"], end) for begun, _, end in track if begun["args"].get("open")]
    end = lines[last]["ns"]
    assert ("driver_probe", end) in open_ and ("virtio_dev_probe", end) in open_
    assert all("result" not in begun["args"] for begun, _, _ in track if begun["args"].get("open"))


def test_a_lost_return_ends_with_the_call_around_it() -> None:
    lines = golden("debian-6.1")
    lines = remove(lines, at("driver_probe", "0000:00:02.0", kind="return"))
    shown = tracks(drawn(lines))
    track = next(found for (_, name), found in shown.items() if name.startswith("0000:00:02.0"))
    ends = {begun["cat"]: (end, begun["args"].get("open")) for begun, _, end in track}
    assert ends["driver_probe"] == (ends["virtio_dev_probe"][0], True)


def test_two_threads_at_one_device_have_two_tracks() -> None:
    lines = golden("debian-6.1")
    number, event = next(
        (n, e) for n, e in enumerate(lines) if at("find_vqs", "0000:00:02.0", kind="entry")(e)
    )
    other = {**event, "tid": 999, "comm": "other", "seq": 0}
    ret = {**other, "kind": "return", "duration_ns": 1000}
    inside = [*lines[: number + 2], other, ret, *lines[number + 2 :]]
    for count, event in enumerate(inside[1:-1], 1):
        event["seq"] = count
    other["ns"] = inside[number + 1]["ns"]
    ret["ns"] = other["ns"] + 1000
    inside[-1]["events"] += 2
    shown = tracks(drawn(inside))
    mine = [name for process, name in shown if name.startswith("0000:00:02.0")]
    assert len(mine) == 2 and mine[1] == f"{mine[0]} (2)"
    second = shown["VirtIO devices", mine[1]]
    assert [(begun["args"]["thread"], end - start) for begun, start, end in second] == [
        ("other/999", 1000)
    ]


def test_what_was_lost_is_on_the_recordings_own_track() -> None:
    lines = golden("debian-6.1")
    assert not [e for e in drawn(lines) if e.get("name") == "events lost"]
    lost = [line for line in lines if line.get("seq") not in (50, 51, 90)]
    lost[-1]["lost"] = 7  # and four after the last
    marks = [e for e in drawn(lost) if e.get("name") == "events lost"]
    assert [e["args"]["lost"] for e in marks] == [2, 1, 4]
    ends = [e["name"] for e in drawn(lost[:-1]) if e["pid"] == 3 and e["ph"] == "i"]
    assert ends[0] == "recording begins" and ends[-1] == "recording was cut short"


FUNCTIONS = (
    "virtio_pci_probe", "register_virtio_device", "virtio_dev_match", "virtio_dev_probe",
    "driver_probe", "find_vqs", "setup_vq", "register_virtio_driver", "do_init_module",
)  # fmt: skip


def random_lines(chance: random.Random) -> list[Line]:
    """Random calls of random threads on random devices. Some events are lost, some come late, some
    are damaged in ways that a recording allows."""
    first = golden("debian-6.12-deferred")
    stacks: dict[int, list[Line]] = {}
    events: list[Line] = []
    ns = first[0]["started_ns"]
    for _ in range(chance.randrange(1, 200)):
        ns += chance.choice((0, 1, 999, 1000, 123_456, 10**9))
        tid = chance.randrange(1, 5)
        stack = stacks.setdefault(tid, [])
        event: Line = {"ns": ns, "cpu": tid % 2, "tid": tid, "comm": chance.choice(("a\n", "b"))}
        move = chance.random()
        if move < 0.1:
            event |= {"kind": "module", "module": "virtio_net"}
        elif move < 0.2:
            event |= {"kind": "hit", "probe": "set_status", "detail": {"status": 3, "name": "n"}}
            event["device"] = {"address": "0000:00:02.0", "bus": "pci"}
        elif stack and move < 0.6:
            entry = stack.pop()
            event |= {k: v for k, v in entry.items() if k not in event} | {"kind": "return"}
            if chance.random() < 0.9:
                event["duration_ns"] = ns - entry["ns"] + chance.choice((0, 0, 500, 10**7))
            event["result"] = chance.choice((0, -22))
        else:
            probe = chance.choice(FUNCTIONS)
            event |= {"kind": "entry", "probe": probe, "function": probe, "driver": "virtio_net"}
            if chance.random() < 0.8:
                address = f"0000:00:0{chance.randrange(1, 4)}.0"
                event["device"] = {"address": address, "bus": "pci", "id": 1, "vendor": 1}
            stack.append(event)
        events.append(event)
    kept = [{"seq": n, **e} for n, e in enumerate(events, 1) if chance.random() < 0.9]
    for event in kept:
        if chance.random() < 0.05:  # the buffers of the CPUs are not always merged in order
            event["ns"] = max(event["ns"] - chance.randrange(10**6), 0)
    trailer = {**first[-1], "events": len(kept), "lost": len(events) - len(kept)}
    return [first[0], *kept, trailer] if chance.random() < 0.8 else [first[0], *kept]


@pytest.mark.parametrize("seed", range(100))
def test_any_stream_of_events_keeps_the_rules(seed: int) -> None:
    lines = random_lines(random.Random(seed))
    events = drawn(lines)
    tracks(events)
    numbers = [line["seq"] for line in lines[1:] if "seq" in line]
    assert seqs(events, 2) == Counter(numbers)
    # if entries were lost, a return may be assigned to another device's call
    assert seqs(events, 1) <= Counter(numbers)


def test_a_call_is_on_the_track_of_the_device_that_came_back_in_a_gap() -> None:
    """virtnet_validate is the first call about the network device after the gap."""
    events = drawn(golden("debian-6.1-lossy"))
    (of,) = [
        e["tid"] for e in events if e["pid"] == 1 and e.get("args", {}).get("events") == [287, 288]
    ]
    (track,) = [
        e["args"]["name"] for e in events if e.get("name") == "thread_name" and e["tid"] == of
    ]
    assert track == "0000:00:02.0 net virtio0 virtio_net generation 1"
