# SPDX-License-Identifier: GPL-2.0-or-later
"""The binding graph in DOT: devices, the bus, drivers, and which driver bound which device."""

from __future__ import annotations

from typing import Any, TextIO

from virtio_trace.render.escape import escape
from virtio_trace.render.words import duration, result

_GOOD = "#2e7d32"
_BAD = "#c62828"
_FAINT = "#9e9e9e"
_INK = "#37474f"
_FILLS = {
    "bound": "#e8f5e9", "failed": "#ffebee", "unbound": "#fff8e1", "removed": "#f5f5f5",
    "unknown": "#fff8e1",
}  # fmt: skip
_LINES = {
    "bound": _GOOD, "failed": _BAD, "unbound": "#f9a825", "removed": _FAINT, "unknown": "#f9a825",
}  # fmt: skip

_GENERATIONS = 2

Attributes = dict[str, str]


def dot(report: dict[str, Any], out: TextIO) -> None:
    """Write REPORT (report.summary.summarize) as a graph. The output is deterministic."""
    kernel = report["kernel"]
    title = f"VirtIO bindings, kernel {kernel['release']} {kernel['machine']}"
    lines = [
        "digraph virtio {",
        f"  graph [rankdir=LR, ranksep=1.1, nodesep=0.35, fontname=Helvetica, "
        f"labelloc=t, fontsize=15, label={_label(title)}];",
        "  node [fontname=Helvetica, fontsize=11, style=filled, fillcolor=white, "
        f'color="{_INK}", penwidth=1.3, margin="0.16,0.08"];',
        f'  edge [fontname=Helvetica, fontsize=10, color="{_INK}"];',
        _node("bus", {"shape": "cylinder", "fillcolor": "#e3f2fd"}, "VirtIO bus"),
        *_devices(report),
        *_drivers(report),
        *_bindings(report),
        _legend(),
        "}",
    ]
    out.write("\n".join(lines))
    out.write("\n")


def _shown(report: dict[str, Any]) -> dict[tuple[str, int], int]:
    """The devices to draw: (address, generation) to the number of earlier ones at that address.

    Only the last two at an address are drawn: a device may be rebound a thousand times.
    """
    there: dict[str, list[int]] = {}
    for device in report["devices"]:
        there.setdefault(device["address"], []).append(device["generation"])
    return {
        (address, generation): max(0, len(generations) - _GENERATIONS)
        for address, generations in there.items()
        for generation in generations[-_GENERATIONS:]
    }


def _devices(report: dict[str, Any]) -> list[str]:
    lines = []
    shown = _shown(report)
    for device in report["devices"]:
        earlier = shown.get((device["address"], device["generation"]))
        if earlier is None:
            continue
        state = device["state"]
        node = _device_id(device["address"], device["generation"])
        head = f"{device['name'] or '?'}  {device['type'] or 'unknown type'}"
        words = [head, device["address"], f"{device['transport']}, {state}"]
        if earlier and state == "removed":
            words.append(f"and {earlier} before it")
        look = {"shape": "box", "fillcolor": _FILLS[state], "color": _LINES[state]}
        if state == "removed":
            look["style"] = "filled,dashed"
        lines.append(_node(node, look, *words))
        # A device without an edge to the bus was never registered.
        if device["registered_ns"] is not None or device["snapshot"]:
            before = "" if device["registered_ns"] is not None else "there before"
            look = {"arrowhead": "none", "fontcolor": _FAINT}
            lines.append(_edge(node, "bus", look, before))
    return lines


def _drivers(report: dict[str, Any]) -> list[str]:
    lines = []
    for driver in report["drivers"]:
        node = f"driver:{driver['name']}"
        module = f"[{driver['module']}]" if driver["module"] else ""
        home = "built in" if driver["builtin"] else module
        words = [driver["name"], home, driver["probe"] or ""]
        gone = driver["unregistered_ns"] is not None
        look = {"shape": "component", "fillcolor": "#f5f5f5" if gone else "#ede7f6"}
        if gone:
            look["style"] = "filled,dashed"
        lines.append(_node(node, look, *filter(None, words)))
        failed = driver["result"] not in (0, None)
        label = result(driver["result"]) if failed else ""
        style = {"color": _BAD, "fontcolor": _BAD, "style": "dashed"} if failed else {}
        lines.append(_edge("bus", node, {"arrowhead": "none", **style}, label))
    return lines


def _bindings(report: dict[str, Any]) -> list[str]:
    """An edge for each pair: the last attempt, and the number of attempts."""
    last: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
    known = {driver["name"] for driver in report["drivers"]}
    shown = _shown(report)
    for binding in report["bindings"]:
        if (binding["device"], binding["generation"]) not in shown:
            continue
        node = _device_id(binding["device"], binding["generation"])
        pair = (node, binding["driver"] or "?")
        times = last[pair][1] + 1 if pair in last else 1
        last[pair] = (binding, times)
    lines = [
        _node(f"driver:{name}", {"shape": "component", "style": "dashed"}, name)
        for name in sorted({name for _, name in last} - known)
    ]
    lines += [
        _binding(node, name, binding, times) for (node, name), (binding, times) in last.items()
    ]
    attempted = set(last)
    for device in report["devices"]:
        pair = (_device_id(device["address"], device["generation"]), str(device["driver"]))
        there = (device["address"], device["generation"]) in shown
        if there and device["driver"] in known and pair not in attempted:
            look = {"color": _GOOD, "fontcolor": _GOOD}
            lines.append(_edge(pair[0], f"driver:{pair[1]}", look, "bound before"))
    return lines


def _binding(node: str, driver: str, binding: dict[str, Any], times: int) -> str:
    words = [binding["function"] or "virtio_dev_probe"]
    value = binding["result"]
    if value == 0:
        look = {"color": _GOOD, "fontcolor": _GOOD, "penwidth": "1.8"}
        words.append(duration(binding["duration_ns"]))
    else:
        look = {"color": _BAD, "fontcolor": _BAD, "style": "dashed", "penwidth": "1.8"}
        words.append("not returned" if value is None else result(value))
    if times > 1:
        words.append(f"{times} times")
    if binding["unbound_ns"] is not None:
        look = {"color": _FAINT, "fontcolor": _FAINT, "style": "dashed"}
        words.append("unbound")
    return _edge(node, f"driver:{driver}", look, *words)


def _legend() -> str:
    words = ("green: bound", "red, dashed: failed", "grey, dashed: no longer", "plain: registered")
    look = {"shape": "plaintext", "fontsize": "9", "fontcolor": _FAINT, "style": ""}
    return _node("legend", look, *words)


def _device_id(address: str, generation: int) -> str:
    return f"device:{address}:{generation}"


def _node(name: str, look: Attributes, *words: str) -> str:
    return f"  {_quote(name)} [{_attributes(look, *words)}];"


def _edge(tail: str, head: str, look: Attributes, *words: str) -> str:
    return f"  {_quote(tail)} -> {_quote(head)} [{_attributes(look, *words)}];"


def _attributes(look: Attributes, *words: str) -> str:
    pairs = [f"label={_label(*words)}", *(f"{key}={_quote(value)}" for key, value in look.items())]
    return ", ".join(pairs)


def _label(*words: str) -> str:
    """The words as lines of one label."""
    return '"' + "\\n".join(_inner(word) for word in words) + '"'


def _quote(text: str) -> str:
    return f'"{_inner(text)}"'


def _inner(text: str) -> str:
    """TEXT for DOT's quotes, in which a backslash starts an escape; names may hold both."""
    return escape(text).replace("\\", "\\\\").replace('"', '\\"')
