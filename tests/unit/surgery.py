# SPDX-License-Identifier: GPL-2.0-or-later
"""Derives recordings from real ones: events removed, moved, or changed.

Sequence numbers, times and the trailer's count are then corrected, so the only fault is the one
that the test introduced.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from virtio_trace.check import named, verdict
from virtio_trace.check.findings import Result
from virtio_trace.check.profiles import LINUX
from virtio_trace.graph import builder
from virtio_trace.recording import reader

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

Line = dict[str, Any]
Where = Callable[[Line], bool]


def golden(name: str) -> list[Line]:
    """The lines of tests/golden/NAME.vtr."""
    text = (GOLDEN / f"{name}.vtr").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def dump(lines: list[Line]) -> list[bytes]:
    """LINES as the lines of a file."""
    return [json.dumps(line).encode() + b"\n" for line in lines]


def judge(
    lines: list[Line], profile: str = LINUX, devices: tuple[str, ...] = (),
    drivers: tuple[str, ...] = (),
) -> Result:  # fmt: skip
    """The check's result, on the named DEVICES and DRIVERS or on all."""
    graph = builder.build(reader.read(dump(lines), "surgery"))
    return verdict.check(graph, profile, named.scope(graph.recording, devices, drivers))


def mend(lines: list[Line]) -> list[Line]:
    """LINES with new sequence numbers, times in order, and a correct count in the trailer."""
    header, events, trailer = lines[0], lines[1:-1], lines[-1]
    times = sorted(event["ns"] for event in events)
    events = [
        {**event, "seq": number, "ns": ns}
        for number, (event, ns) in enumerate(zip(events, times, strict=True), 1)
    ]
    return [header, *events, {**trailer, "events": len(events)}]


def remove(lines: list[Line], where: Where) -> list[Line]:
    """LINES without the events for which WHERE is true; there must be at least one."""
    kept = [line for line in lines if "seq" not in line or not where(line)]
    assert len(kept) < len(lines)
    return mend(kept)


def change(lines: list[Line], where: Where, **members: Any) -> list[Line]:
    """LINES with MEMBERS replaced in the events for which WHERE is true; there must be at least
    one."""
    changed = [{**line, **members} if "seq" in line and where(line) else line for line in lines]
    assert changed != lines
    return changed


def move(lines: list[Line], where: Where, behind: Where) -> list[Line]:
    """LINES with the events for which WHERE is true moved after the last for which BEHIND is."""
    moved = [line for line in lines if "seq" in line and where(line)]
    rest = [line for line in lines if "seq" not in line or not where(line)]
    last = max(i for i, line in enumerate(rest) if "seq" in line and behind(line))
    assert moved and [*rest[: last + 1], *moved, *rest[last + 1 :]] != lines
    return mend([*rest[: last + 1], *moved, *rest[last + 1 :]])


def entry_lost(lines: list[Line]) -> set[int]:
    """The sequence numbers of the events of each virtio_dev_probe whose entry was lost.

    The device of such a call is unknown, so no binding is built from it. Empty if nothing was lost.
    """
    found: set[int] = set()
    of_thread: dict[int, list[int]] = {}
    last = 0
    for event in lines[1:-1]:
        if event["seq"] != last + 1:
            of_thread.clear()
        last = event["seq"]
        of_thread.setdefault(event["tid"], []).append(last)
        if at("virtio_dev_probe", kind="return")(event):
            inside = of_thread.pop(event["tid"])
            if "device" not in event:
                found.update(inside)
    return found


def at(probe: str, address: str | None = None, driver: str | None = None, kind: str = "") -> Where:
    """A test for events of PROBE with the device at ADDRESS, DRIVER and KIND, where given."""

    def where(line: Line) -> bool:
        return (
            line.get("probe") == probe
            and (address is None or line.get("device", {}).get("address") == address)
            and (driver is None or line.get("driver") == driver)
            and (not kind or line["kind"] == kind)
        )

    return where
