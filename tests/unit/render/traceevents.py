# SPDX-License-Identifier: GPL-2.0-or-later
"""A strict reader of the Trace Event Format."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

Events = list[dict[str, Any]]
Slice = tuple[dict[str, Any], int, int]
"""The B event, and the begin and end in nanoseconds."""


def read(text: str) -> Events:
    """The events of a trace."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert text.isascii()
    trace = json.loads(text, parse_constant=refuse)
    assert set(trace) == {"traceEvents", "otherData"}
    events: Events = trace["traceEvents"]
    return events


def tracks(events: Events) -> dict[tuple[str, str], list[Slice]]:
    """The slices by process and name of the track. Asserts the rules of the format."""
    processes, names = {}, {}
    by_track: dict[tuple[int, int], Events] = defaultdict(list)
    for event in events:
        assert event["ph"] in ("M", "B", "E", "i")
        pid, tid = event["pid"], event["tid"]
        assert type(pid) is int and type(tid) is int and pid > 0 and tid > 0  # 0 is the idle task
        if event["name" if event["ph"] == "M" else "ph"] == "process_name":
            processes[pid] = event["args"]["name"]
        elif event["ph"] == "M" and event["name"] == "thread_name":
            assert (pid, tid) not in names
            names[pid, tid] = event["args"]["name"]
        elif event["ph"] != "M":
            by_track[pid, tid].append(event)
    assert all(processes.values()) and all(names.values())
    assert by_track.keys() <= names.keys() and {pid for pid, _ in names} <= processes.keys()
    # in Perfetto a tid is unique in the whole trace, and a process's number is its main thread
    tids = Counter(tid for _, tid in names)
    assert max(tids.values()) == 1 and not tids.keys() & processes.keys()
    return {(processes[track[0]], names[track]): slices(found) for track, found in by_track.items()}


def slices(track: Events) -> list[Slice]:
    """The slices of a track. Asserts that times do not go back and that every end has a begin."""
    now, within, found = 0.0, [], []
    for event in track:
        assert event["ts"] >= now
        now = event["ts"]
        if event["ph"] == "B":
            within.append(event)
        elif event["ph"] == "E":
            begun = within.pop()
            found.append((begun, round(begun["ts"] * 1000), round(now * 1000)))
        else:
            assert event["s"] == "t"
        assert event["ph"] == "E" or event["name"]
    assert not within
    return found
