# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/kernels.md: what is known on which kernel, out of the recordings that make matrix made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from virtio_trace.tracer.points import table

FILE = Path(__file__).resolve().parents[1] / "docs" / "kernels.md"

POINTS = tuple(
    dict.fromkeys(
        [*(p.name for p in table.CORE_POINTS), table.DRIVER_PROBE, table.DRIVER_VALIDATE]
        + [p.name for p in table.NEGOTIATION_POINTS]
    )
)
"""Every probe point by its name, each once."""

Seen = tuple[dict[str, Any], dict[str, Any]]
"""A report (``report --format json``) and the trailer of its recording."""

_Picks = Callable[[dict[str, Any]], Iterable[Any]]


def _of(things: str, *path: str) -> _Picks:
    def pick(report: dict[str, Any]) -> Iterable[Any]:
        for thing in report[things]:
            value = thing
            for name in path:
                value = value[name]
            yield value

    return pick


def _bound(*path: str) -> _Picks:
    """Of the bindings that came about."""
    return lambda report: _of("bindings", *path)(
        {"bindings": [b for b in report["bindings"] if b["result"] == 0]}
    )


def _queues(member: str) -> _Picks:
    return lambda report: (
        queue[member] for queues in _bound("queues")(report) for queue in queues or [{member: None}]
    )


MEMBERS: dict[str, _Picks] = {
    "drivers: registered_ns": _of("drivers", "registered_ns"),
    "drivers: probe": _of("drivers", "probe"),
    "devices: id, type": _of("devices", "type"),
    "devices: transport": _of("devices", "transport"),
    "devices: registered_ns": _of("devices", "registered_ns"),
    "devices: status": _of("devices", "status"),
    "bindings: result": _of("bindings", "result"),
    "bindings: function": _bound("function"),
    "bindings: duration_ns": _of("bindings", "duration_ns"),
    "bindings: features.offered": _of("bindings", "features", "offered"),
    "bindings: features.driver": _of("bindings", "features", "driver"),
    "bindings: features.negotiated": _bound("features", "negotiated"),
    "bindings: interrupts": _bound("interrupts"),
    "bindings: queues": _bound("queues"),
    "bindings: queues.name": _queues("name"),
    "bindings: queues.size": _queues("size"),
    "bindings: phases": _of("bindings", "phases"),
}
"""Members of the report that are None where the kernel did not show them."""

_HEAD = """# What is known on which kernel

Written by `make matrix`, out of one boot of each with the same eleven devices, some of which fail;
every device was held to sysfs, the kernel's log and QEMU. Do not edit it.

{kernels}

## Probe points

A function that is armed, or will be when its module comes, is *yes*, and named where its name is
another than the probe point's; x2: there are two of that name, and both are. A function that the
kernel does not have, and need not have, is *-*; one that it should have and has not, *no*.

"""

_MEMBERS = """
## Members of the report

How many have it, of the drivers, devices or bindings of the board. Where the core of VirtIO is
built in (from 6.12 on), what came before user space is from the kernel's boot-time events; a probe
point that had no room on its command line was armed later, and `make matrix` names it.

"""


def write(seen: Mapping[str, Seen]) -> None:
    """Write the page anew."""
    FILE.write_text(page(seen), "utf-8")


def page(seen: Mapping[str, Seen]) -> str:
    """The page; SEEN by the name of its column."""
    kernels = "\n".join(
        f"- {name}: {report['kernel']['release']}" for name, (report, _) in seen.items()
    )
    return (
        _HEAD.format(kernels=kernels)
        + _table("probe point", seen, {name: _point(name) for name in POINTS})
        + _MEMBERS
        + _table("member", seen, {name: _member(pick) for name, pick in MEMBERS.items()})
    )


def _point(name: str) -> Callable[[Seen], str]:
    def cell(seen: Seen) -> str:
        mine = [probe for probe in seen[1]["probes"] if probe["probe"] == name]
        if name in (table.DRIVER_PROBE, table.DRIVER_VALIDATE):
            bad = sum(_known(probe) != "yes" for probe in mine)
            return f"of {len(mine)} drivers" + (f", not of {bad}" if bad else "")
        words = []
        for state in ("yes", "-", "no"):
            functions = Counter(p["function"] for p in mine if _known(p) == state)
            plain = set(functions) == {name} and len(mine) == 1
            if functions:
                words.append(state if plain else f"{state} {', '.join(_counted(functions))}")
        return "; ".join(words)

    return cell


def _known(probe: dict[str, Any]) -> str:
    """An armed one and one whose module has not come are known."""
    return {"absent": "-", "not armed": "no"}.get(probe["state"], "yes")


def _counted(functions: Counter[str]) -> Iterable[str]:
    for function, count in functions.items():
        yield f"`{function}`" + (f" x{count}" if count > 1 else "")


def _member(pick: _Picks) -> Callable[[Seen], str]:
    def cell(seen: Seen) -> str:
        values = list(pick(seen[0]))
        known = sum(value is not None for value in values)
        return "yes" if known == len(values) else f"{known} of {len(values)}"

    return cell


def _table(corner: str, seen: Mapping[str, Seen], rows: Mapping[str, Callable[[Seen], str]]) -> str:
    lines = [f"| {corner} | {' | '.join(seen)} |", "|---" * (len(seen) + 1) + "|"]
    for name, cell in rows.items():
        lines.append(f"| {name} | {' | '.join(cell(each) for each in seen.values())} |")
    return "\n".join(lines) + "\n"
