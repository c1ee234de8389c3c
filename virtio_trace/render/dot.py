# SPDX-License-Identifier: GPL-2.0-or-later
"""The bindings in DOT: devices in one column, drivers in the other, an edge for each pair."""

from __future__ import annotations

from typing import Any, TextIO

from virtio_trace.render.escape import escape
from virtio_trace.render.grid import wrap
from virtio_trace.render.picture import (
    BEFORE,
    BOUND,
    FAILED,
    LEGEND,
    OPEN,
    PAST,
    DeviceBox,
    DriverBox,
    Link,
    picture,
    shortened,
)

_INK, _GREEN, _RED, _AMBER, _GREY = "#1f2937", "#1b5e20", "#b3151b", "#855300", "#5b6167"
_FILLS = {
    "bound": "#eef7ef", "failed": "#fdeeee", "unbound": "#fff7e0", "removed": "#f4f5f6",
    "unknown": "#fff7e0",
}  # fmt: skip
_STROKES = {
    "bound": _GREEN, "failed": _RED, "unbound": _AMBER, "removed": _GREY, "unknown": _AMBER,
}  # fmt: skip
_LOOKS = {
    BOUND: (_GREEN, "solid"), BEFORE: (_GREEN, "dotted"), FAILED: (_RED, "dashed"),
    OPEN: (_AMBER, "dashed"), PAST: (_GREY, "dotted"),
}  # fmt: skip
_REASON = 44
"""Characters in a line of a reason."""
_LINES = 6

Attributes = dict[str, str]


def dot(report: dict[str, Any], out: TextIO) -> None:
    """Write REPORT (report.summary.summary) as a graph. The output is deterministic."""
    shown = picture(report)
    looks = {link.look for device in shown.devices for link in device.links}
    legend = ", ".join(f"{word}: {_line(look)}" for look, word in LEGEND if look in looks)
    lines = [
        "digraph virtio {",
        "  graph [rankdir=LR, ranksep=2.2, nodesep=0.2, fontname=Helvetica, labelloc=t, "
        f"fontsize=14, label={_label(shown.title, shown.summary, legend)}];",
        "  node [shape=box, fontname=Helvetica, fontsize=11, style=filled, "
        f'fontcolor="{_INK}", penwidth=1.3, margin="0.16,0.08"];',
        f'  edge [fontname=Helvetica, fontsize=10, color="{_INK}"];',
        *(_device(device) for device in shown.devices),
        *(_driver(driver) for driver in shown.drivers),
        *_column([f"device:{device.key}" for device in shown.devices]),
        *_column([f"driver:{driver.name}" for driver in shown.drivers]),
        *(_link(device, link) for device in shown.devices for link in device.links),
    ]
    if shown.devices:  # a driver that no device met is on the right as well
        met = {link.driver for device in shown.devices for link in device.links}
        first = f"device:{shown.devices[0].key}"
        lines += [
            _edge(first, f"driver:{driver.name}", {"style": "invis"})
            for driver in shown.drivers
            if driver.name not in met
        ]
    out.write("\n".join([*lines, "}"]))
    out.write("\n")


def _column(nodes: list[str]) -> list[str]:
    """NODES below each other: with rankdir=LR, those of one rank are a column."""
    if not nodes:
        return []
    links = " -> ".join(map(_quote, nodes))
    look = " [style=invis]" if len(nodes) > 1 else ""
    return [f"  {{ rank=same; {links}{look}; }}"]


def _device(device: DeviceBox) -> str:
    words = [device.title, f"{device.place}, {device.state}"]
    if device.earlier:
        words.append(f"and {device.earlier} before it at this address")
    if device.reason:
        words += shortened(wrap(escape(device.reason), _REASON), _LINES)
    look = {"fillcolor": _FILLS[device.state], "color": _STROKES[device.state]}
    if device.state == "removed":
        look["style"] = "filled,dashed"
    return _node(f"device:{device.key}", look, *words)


def _driver(driver: DriverBox) -> str:
    look = {"shape": "component", "fillcolor": "#f3f0fa"}
    if driver.look == PAST:
        look |= {"fillcolor": "#f4f5f6", "style": "filled,dashed"}
    elif driver.look == FAILED:
        look |= {"fillcolor": "#fdeeee", "color": _RED}
    return _node(f"driver:{driver.name}", look, driver.name, *driver.lines)


def _link(device: DeviceBox, link: Link) -> str:
    ink, style = _LOOKS[link.look]
    look = {"color": ink, "fontcolor": ink, "penwidth": "1.8", "style": style}
    function, _, rest = link.words.partition(": ")
    words = [function, rest] if rest else [function]
    return _edge(f"device:{device.key}", f"driver:{link.driver}", look, *words)


def _line(look: str) -> str:
    """What the line of LOOK looks like, in words."""
    ink, style = _LOOKS[look]
    colours = {_GREEN: "green", _RED: "red", _AMBER: "brown", _GREY: "grey"}
    return colours[ink] if style == "solid" else f"{colours[ink]}, {style}"


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
