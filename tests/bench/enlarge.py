# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a long recording from a short, real one, by repeating a device's unbinding and binding.

    python3 tests/bench/enlarge.py SHORT.vtr LONG.vtr EVENTS

The events between the last unregister_virtio_device and the return of the virtio_pci_probe after it
(a rebind of a PCI device) are repeated with new sequence numbers and times; a recording without
a rebind has the binding calls of its last device repeated, each ended by a virtio_dev_remove.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def enlarge(lines: list[Line], events: int) -> Iterator[Line]:
    """The header, at least EVENTS events, and the trailer. Raises ValueError."""
    header, *inner, trailer = lines
    cycle = _cycle(inner)
    if not cycle:
        raise ValueError("no binding in the recording")
    yield header
    yield from inner
    seq, ns = inner[-1]["seq"], inner[-1]["ns"]
    began = cycle[0]["ns"]
    while seq < events:
        start = ns + 1000
        for event in cycle:
            seq, ns = seq + 1, start + event["ns"] - began
            yield {**event, "seq": seq, "ns": ns}
    yield {**trailer, "events": seq}


def _cycle(events: list[Line]) -> list[Line]:
    """The last rebind of a PCI device; else the last binding, with an unbinding added."""
    first = _last(events, "unregister_virtio_device", "entry")
    last = _last(events, "virtio_pci_probe", "return")
    if first is not None and last is not None and first < last:
        return events[first : last + 1]
    first = _last(events, "virtio_dev_match", "entry", result=1)
    last = _last(events, "virtio_dev_probe", "return")
    if first is None or last is None:
        return []
    found = events[first : last + 1]
    end = found[-1]
    unbound = {**end, "probe": "virtio_dev_remove", "function": "virtio_dev_remove"}
    del unbound["result"]
    entry = {k: v for k, v in unbound.items() if k != "duration_ns"} | {"kind": "entry"}
    return [{**entry, "ns": found[0]["ns"] - 200}, {**unbound, "ns": found[0]["ns"] - 100}, *found]


def _last(events: list[Line], probe: str, kind: str, result: int | None = None) -> int | None:
    """The index of the last such event; with RESULT, one that then returns that result."""
    for i in range(len(events) - 1, -1, -1):
        if events[i].get("probe") != probe or events[i]["kind"] != kind:
            continue
        if result is None or events[i + 1].get("result") == result:
            return i
    return None


def write(short: Path, long: Path, events: int) -> None:
    """Reads SHORT and writes LONG."""
    lines = [json.loads(line) for line in short.read_text(encoding="utf-8").splitlines()]
    with long.open("w", encoding="utf-8") as out:
        for line in enlarge(lines, events):
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


def main() -> None:
    """See the module's text."""
    short, long, events = sys.argv[1:]
    write(Path(short), Path(long), int(events))


if __name__ == "__main__":
    main()
