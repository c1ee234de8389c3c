# SPDX-License-Identifier: GPL-2.0-or-later
"""An inspection as text: a block for each driver, then the calls that register it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from virtio_trace.render.escape import escape
from virtio_trace.render.grid import wrap
from virtio_trace.render.words import Paint, count, plain

_NONE = "-"
_INDENT = "  "
_LABEL = 11
"""The width of a block's left side."""
_MEMBER = 16
"""The width of a function member's name."""


def inspection(
    found: dict[str, Any], out: TextIO, width: int | None = None, paint: Paint = plain
) -> None:
    """Write FOUND (Inspection.to_json) for a terminal of WIDTH columns; None: any width."""
    parts = [
        _blocks("TRANSPORTS", [_transport(t) for t in found["transports"]], width, paint),
        _blocks("DRIVERS", [_driver(d) for d in found["drivers"]], width, paint),
        _calls(found["calls"], width, paint),
        _unknown(found["unknown"], width, paint),
        "\n".join(_filled(_summary(found).split(" "), width, "")),
    ]
    out.write("\n\n".join(part for part in parts if part))
    out.write("\n")


_Row = tuple[str, Sequence[str]]
"""A label and its items. An item that fits on a line is not broken."""


def _transport(transport: dict[str, Any]) -> tuple[str, list[_Row]]:
    rows = [("bus", [transport["bus"]]), ("matches", transport["matches"])]
    return transport["name"], [*_where(transport), *rows, *_functions(transport)]


def _driver(driver: dict[str, Any]) -> tuple[str, list[_Row]]:
    types = [
        f"{kind} ({number})" if number is not None else "any device"
        for number, kind in zip(driver["ids"], driver["types"], strict=True)
    ]
    rows = [
        ("devices", types),
        ("aliases", driver["aliases"]),
        *_functions(driver),
        ("features", [_feature(feature) for feature in driver["features"]]),
        ("legacy", _legacy(driver["features"], driver["features_legacy"])),
    ]
    return driver["name"], [*_where(driver), *rows]


def _where(thing: dict[str, Any]) -> Iterator[_Row]:
    if thing["builtin"]:
        module = f"built in ({thing['module']})" if thing["module"] else "built in"
    else:
        module = thing["module"]
    yield "module", [module]
    yield "file", [thing["file"]]
    yield "struct", [thing["struct"]]
    yield "init", [thing["init"] or _NONE]


def _functions(thing: dict[str, Any]) -> Iterator[_Row]:
    """A line for each function that is set, and one that names the others."""
    label = "functions"
    for member, function in thing["functions"].items():
        if function is not None:
            yield label, [f"{member:{_MEMBER}} {function}"]
            label = ""
    unset = [member for member, function in thing["functions"].items() if function is None]
    if unset:
        yield "not set", unset


def _feature(feature: dict[str, Any]) -> str:
    name = feature["name"]
    return name if name == f"bit {feature['bit']}" else f"{name} {feature['bit']}"


def _legacy(modern: list[dict[str, Any]], legacy: list[dict[str, Any]]) -> list[str]:
    """The legacy table as its difference from the modern one if that is shorter."""
    if not legacy:
        return ["no legacy table"]
    more = [_feature(feature) for feature in legacy if feature not in modern]
    less = [f"not {_feature(feature)}" for feature in modern if feature not in legacy]
    if len(more) + len(less) < len(legacy):
        return ["as features", *more, *less]
    return [_feature(feature) for feature in legacy]


def _blocks(
    title: str, blocks: list[tuple[str, list[_Row]]], width: int | None, paint: Paint
) -> str:
    if not blocks:
        return ""
    parts = []
    for name, rows in blocks:
        lines = [paint(line, "name") for line in wrap(escape(name), width)]
        for label, items in rows:
            lines += _row(label, items, width, paint)
        parts.append("\n".join(lines))
    return paint(title, "heading") + "\n" + "\n\n".join(parts)


def _row(label: str, items: Sequence[str], width: int | None, paint: Paint) -> list[str]:
    room = None if width is None else width - len(_INDENT) - _LABEL
    lines = _filled([escape(item) for item in items] or [_NONE], room)
    left = [f"{label:{_LABEL}}", *[" " * _LABEL] * (len(lines) - 1)]
    return [
        (_INDENT + paint(side, "faint") + line).rstrip()
        for side, line in zip(left, lines, strict=True)
    ]


def _filled(items: list[str], width: int | None, comma: str = ",") -> list[str]:
    """ITEMS with COMMA between them in lines of at most WIDTH, where no word is longer."""
    lines: list[str] = []
    line = ""
    for i, item in enumerate(items):
        text = item if i == len(items) - 1 else f"{item}{comma}"
        if line and width is not None and len(line) + 1 + len(text) > width:
            lines.append(line)
            line = ""
        line = f"{line} {text}" if line else text
        *whole, line = wrap(line, width)
        lines += whole
    return [*lines, line]


def _less(width: int | None) -> int | None:
    """The WIDTH of what is indented."""
    return None if width is None else width - len(_INDENT)


def _calls(calls: list[dict[str, Any]], width: int | None, paint: Paint) -> str:
    """A line for each call: function+offset [module] calls function(struct)."""
    lines = []
    for call in calls:
        given = f"({call['argument']})" if call["argument"] else ""
        words = [
            f"{call['from'] or '?'}+0x{call['offset']:x}",
            *([f"[{call['module']}]"] if call["module"] else []),
            "calls",
            f"{call['to']}{given}",
        ]
        first, *rest = _filled([escape(word) for word in words], _less(width), "")
        lines += [first, *(_INDENT + line for line in rest)]
    return "\n".join([paint("CALLS", "heading"), *lines]) if lines else ""


def _unknown(sentences: list[str], width: int | None, paint: Paint) -> str:
    lines = []
    for sentence in sentences:
        first, *rest = _filled(escape(sentence).split(" "), _less(width), "")
        lines += [first, *(_INDENT + line for line in rest)]
    return "\n".join([paint("UNKNOWN", "heading"), *lines]) if lines else ""


def _summary(found: dict[str, Any]) -> str:
    kernel = found["kernel"]
    of = (
        f"kernel {escape(kernel['release'] or 'unknown')} {escape(kernel['machine'] or '')}".strip()
    )
    inside = sum(thing["builtin"] for thing in (*found["drivers"], *found["transports"]))
    parts = [
        f"{of}: {count(len(found['drivers']), 'driver')}",
        count(len(found["transports"]), "transport"),
        *([f"{inside} of them built in"] if inside else []),
        *([f"{count(len(found['unread']), 'file')} unread"] if found["unread"] else []),
    ]
    image = f"; image {escape(kernel['image'])}" if kernel["image"] else ""
    return ", ".join(parts) + image
