# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes recordings with many of one thing, out of real events: each copy has its own numbers.

The things are those that a reader could take quadratic time for. What they are made of is in KINDS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

Line = dict[str, Any]


def write(kind: str, number: int, file: Path) -> None:
    """Write a recording with NUMBER of KIND to FILE."""
    name, make = KINDS[kind]
    text = (GOLDEN / f"{name}.vtr").read_text(encoding="utf-8")
    header, *events, trailer = map(json.loads, text.splitlines())
    seq, ns = events[-1]["seq"], events[-1]["ns"]
    cycle = make(events)
    with file.open("w", encoding="utf-8") as out:
        for line in (header, *events):
            out.write(_text(line))
        for copy in range(number):
            began = ns + 1000 - cycle[0]["ns"]
            for event in cycle:
                seq, ns = seq + 1, began + event["ns"]
                line = {**event, "seq": seq, "ns": ns}
                out.write(_text(_numbered(kind, line, copy)))
        out.write(_text({**trailer, "events": seq}))


def _text(line: Line) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"


def _numbered(kind: str, line: Line, copy: int) -> Line:
    if kind in ("devices", "slots") and "device" in line:
        ref = {**line["device"], "address": f"{0x1000 + copy:04x}:00:02.0"}
        if kind == "slots":
            ref["address"] = f"{0x0B000000 + copy * 0x200:x}.virtio_mmio"
        if "index" in ref:
            ref["index"] += 100 + copy
        return {**line, "device": ref}
    if kind == "lanes":
        return {**line, "tid": 100_000 + copy}
    return line


def _span(events: list[Line], first: str, last: str) -> list[Line]:
    """The events from the last entry of FIRST before the last return of LAST, to that."""
    places = range(len(events))
    end = max(n for n in places if _is(events[n], last, "return"))
    return events[max(n for n in places if n < end and _is(events[n], first, "entry")) : end + 1]


def _is(event: Line, probe: str, kind: str) -> bool:
    return event.get("probe") == probe and event["kind"] == kind


def _generation(events: list[Line]) -> list[Line]:
    """A PCI device is removed and comes back."""
    start = max(n for n, e in enumerate(events) if _is(e, "unregister_virtio_device", "entry"))
    end = max(n for n, e in enumerate(events) if _is(e, "virtio_pci_probe", "return"))
    return events[start : end + 1]


def _binding(events: list[Line]) -> list[Line]:
    """A device is unbound and bound: the calls of its probe, after a virtio_dev_remove."""
    found = _span(events, "virtio_dev_probe", "virtio_dev_probe")
    matched = next(
        n
        for n in reversed(range(events.index(found[0])))
        if _is(events[n], "virtio_dev_match", "return") and events[n]["result"] == 1
    )
    found = events[matched - 1 : events.index(found[-1]) + 1]
    ended = {**found[-1], "probe": "virtio_dev_remove", "function": "virtio_dev_remove"}
    del ended["result"]
    entry = {k: v for k, v in ended.items() if k != "duration_ns"} | {"kind": "entry"}
    return [{**entry, "ns": found[0]["ns"] - 200}, {**ended, "ns": found[0]["ns"] - 100}, *found]


def _failure(events: list[Line]) -> list[Line]:
    """The same, but the driver's probe function returns -EINVAL."""
    failing = ("driver_probe", "virtio_dev_probe")
    return [
        {**e, "result": -22} if e.get("probe") in failing and "result" in e else e
        for e in _binding(events)[2:]
    ]


def _device(events: list[Line]) -> list[Line]:
    """A PCI device is probed, registered and bound."""
    return _span(events, "virtio_pci_probe", "virtio_pci_probe")


def _slot(events: list[Line]) -> list[Line]:
    """A virtio-mmio slot is probed and has no device."""
    found = _span(events, "virtio_mmio_probe", "virtio_mmio_probe")
    return [found[0], {**found[-1], "result": -19}]


def _lane(events: list[Line]) -> list[Line]:
    """A call for a device that does not return, each in its own thread."""
    return [_span(events, "find_vqs", "find_vqs")[0]]


KINDS: dict[str, tuple[str, Callable[[list[Line]], list[Line]]]] = {
    "generations": ("debian-6.1-rebind", _generation),
    "bindings": ("debian-6.1", _binding),
    "failures": ("debian-6.1", _failure),
    "devices": ("debian-6.1", _device),
    "slots": ("debian-arm64-6.12-mmio", _slot),
    "lanes": ("debian-6.1", _lane),
}
"""Each thing: the golden recording that has it, and what makes one more of its events."""
