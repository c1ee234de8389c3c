# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings for pages: real ones, made longer, wider or hostile."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.bench.enlarge import enlarge
from tests.unit.surgery import golden, mend

Line = dict[str, Any]

NASTY = "</script><img src=x onerror=pwned=1>\"'&<!--\u2028"
"""Ends a script, starts an element, ends an attribute, starts a comment, ends a line."""


def write(lines: list[Line], path: Path) -> Path:
    """LINES as the recording PATH."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def many_devices(number: int) -> list[Line]:
    """A recording of NUMBER devices: those of one with failures, again at other addresses."""
    lines = golden("debian-6.1-failures")
    header, events, trailer = lines[0], lines[1:-1], lines[-1]
    addresses = sorted({event["device"]["address"] for event in events if "device" in event})
    shown: list[Line] = []
    copies = [f"0000:{n // 30 + 1:02x}:{n % 30 + 1:02x}.0" for n in range(number - len(addresses))]
    originals = dict(zip(copies, cycle(addresses), strict=False))
    for block in _blocks(events):
        about = block[0].get("device", {}).get("address")
        shown += block
        for index, (copy, original) in enumerate(originals.items(), 100):
            if original == about:
                shown += [_moved(event, copy, index) for event in block]
    return mend([header, *shown, trailer])


def _blocks(events: list[Line]) -> list[list[Line]]:
    """EVENTS, where the outermost calls about a device are together."""
    blocks: list[list[Line]] = []
    inside: Line | None = None
    for event in events:
        if inside is not None:
            blocks[-1].append(event)
            if event["kind"] == "return" and event["probe"] == inside["probe"]:
                inside = None
            continue
        blocks.append([event])
        if event["kind"] == "entry" and "device" in event:
            inside = event
    return blocks


def _moved(event: Line, address: str, index: int) -> Line:
    if "device" not in event:
        return event
    device = {**event["device"], "address": address}
    if "index" in device:
        device["index"] = index
    return {**event, "device": device}


def many_events(number: int) -> list[Line]:
    """A recording with at least NUMBER events: rebinds of one device."""
    return list(enlarge(golden("debian-6.1-rebind"), number))


def hostile() -> list[Line]:
    """A recording whose names try to run a script: modules, drivers, threads, functions, the log,
    devices, the kernel, the command, the host's path and the names of virtqueues."""
    lines = deepcopy(golden("debian-6.1-host"))
    header, trailer = lines[0], lines[-1]
    header["kernel"]["release"] += NASTY
    header["command"] = [NASTY]
    header["tool"] = NASTY
    for driver in header["evidence"]["drivers"]:
        if driver["name"] in ("virtio_net", "virtio_rng"):
            driver.update(name=driver["name"] + NASTY, module=driver["module"] + NASTY)
            driver["init"] = NASTY
    for event in lines[1:-1]:
        event["comm"] += NASTY
        for name in ("driver", "module", "function"):
            if name in event:
                event[name] += NASTY
        if "device" in event and event["device"]["address"] in ("0000:00:02.0", "0000:00:03.0"):
            event["device"]["address"] += NASTY
        if "name" in event.get("detail", {}):
            event["detail"]["name"] += NASTY
    for line in trailer["log"]["lines"]:
        line["text"] += NASTY
    for device in trailer["host"]["devices"]:
        device["path"] += NASTY
        for bits in ("guest_features", "host_features"):
            if device[bits] is not None:
                device[bits]["names"].append("VIRTIO_F_" + NASTY)
    return lines
