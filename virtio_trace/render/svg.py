# SPDX-License-Identifier: GPL-2.0-or-later
"""The bindings as SVG: devices on the left, drivers on the right, a line for each attempt.

Text is monospaced, so its width is known and boxes fit it without font metrics. Nothing is
told by colour alone: lines differ by dashes, and every state is written out.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from html import escape as for_xml
from typing import Any, BinaryIO

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
    Picture,
    picture,
    shortened,
)

_FONT = "'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace"
_CHARACTER = 7.25
"""Pixels a character takes at 12 px: 0.602 em in DejaVu Sans Mono, the widest of these fonts."""
_LINE, _PAD, _GAP, _MARGIN = 17, 10, 12, 24
_LEFT, _RIGHT = 56, 34
"""Characters in a line of a device and of a driver."""
_BETWEEN = 150
"""Pixels between the columns."""
_MANY = 16
"""From so many devices on, each takes less room."""
_REASON, _SHORT = 6, 2
"""Lines of a reason, and of one of many; the tooltip has all of it."""
_PORT = 7
"""The most pixels between two lines that end at one driver."""

_INK, _GREEN, _RED, _AMBER, _GREY = "#1f2937", "#1b5e20", "#b3151b", "#855300", "#5b6167"
_STATES = {
    "bound": (_GREEN, "#eef7ef"),
    "failed": (_RED, "#fdeeee"),
    "unbound": (_AMBER, "#fff7e0"),
    "removed": (_GREY, "#f4f5f6"),
    "unknown": (_AMBER, "#fff7e0"),
}
_LOOKS = {
    BOUND: (_GREEN, ""),
    BEFORE: (_GREEN, "1 5"),
    FAILED: (_RED, "9 5"),
    OPEN: (_AMBER, "9 4 2 4"),
    PAST: (_GREY, "3 4"),
}


@dataclass(slots=True)
class _Line:
    text: str
    colour: str = _INK
    bold: bool = False
    right: str = ""
    """A word at the right end of the line."""


@dataclass(slots=True)
class _Box:
    x: float
    y: float
    width: float
    lines: list[_Line]
    stroke: str
    fill: str
    dash: str = ""
    tooltip: str = ""
    ports: list[tuple[int, str, str]] = field(default_factory=list)
    """The line of each attempt, its driver and its look."""

    @property
    def height(self) -> float:
        return 2 * _PAD + _LINE * len(self.lines)

    def middle(self, line: int) -> float:
        """Where the middle of a line is."""
        return self.y + _PAD + _LINE * (line + 0.5)


def svg(report: dict[str, Any], out: BinaryIO) -> None:
    """Write REPORT (report.summary.summary) as SVG. The output is deterministic."""
    out.write(drawing(picture(report)).encode("ascii", "xmlcharrefreplace"))


def drawing(shown: Picture) -> str:
    """SHOWN as an SVG document."""
    top = _MARGIN + 3 * _LINE
    left, y = [], float(top)
    for device in shown.devices:
        left.append(_device_box(device, y, len(shown.devices) >= _MANY))
        y += left[-1].height + _GAP
    right = _drivers(shown.drivers, left, top)
    bottom = max([top, *(box.y + box.height for box in (*left, *right))])
    width = 2 * _MARGIN + _wide(_LEFT) + _BETWEEN + _wide(_RIGHT)
    height = bottom + _GAP + 2 * _LINE + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="{_FONT}" font-size="12" role="img">',
        f"<title>{_text(shown.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _words(_MARGIN, _MARGIN + 13, shown.title, _INK, font_weight="bold", font_size=15),
        _words(_MARGIN, _MARGIN + 13 + 1.3 * _LINE, shown.summary, _GREY),
        *_links(left, right),
        *(_drawn(box) for box in (*left, *right)),
        *_legend(bottom + _GAP + _LINE, {look for box in left for _, _, look in box.ports}),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _wide(characters: int) -> float:
    return 2 * _PAD + _CHARACTER * characters


def _device_box(device: DeviceBox, y: float, is_short: bool) -> _Box:
    ink, fill = _STATES[device.state]
    if is_short:
        lines = [_Line(f"{device.title}  {device.place}", bold=True, right=device.state)]
    else:
        lines = [_Line(device.title, bold=True, right=device.state), _Line(device.place, _GREY)]
    if device.earlier:
        lines.append(_Line(f"and {device.earlier} before it at this address", _GREY))
    ports = []
    for link in device.links:
        ports.append((len(lines), link.driver, link.look))
        lines.append(_Line(f"{link.driver}  {link.words}", _LOOKS[link.look][0]))
    reason = wrap(escape(device.reason), _LEFT) if device.reason else []
    shown = shortened(reason, _SHORT if is_short else _REASON)
    lines += [_Line(line, ink) for line in shown]
    if device.missing and not any(device.missing[0] in line for line in shown):
        lines.append(_Line(f"missing: {', '.join(map(escape, device.missing))}", ink))
    dash = "5 4" if device.state == "removed" else ""
    return _Box(_MARGIN, y, _wide(_LEFT), lines, ink, fill, dash, device.reason, ports)


def _drivers(drivers: list[DriverBox], left: list[_Box], top: float) -> list[_Box]:
    """A driver is beside the devices that met it, as far as there is room."""
    met: dict[str, list[float]] = {}
    for box in left:
        for line, name, _ in box.ports:
            met.setdefault(name, []).append(box.middle(line))
    x = _MARGIN + _wide(_LEFT) + _BETWEEN
    boxes, y = [], top
    place = {name: sum(where) / len(where) for name, where in met.items()}
    for driver in sorted(drivers, key=lambda one: place.get(one.name, float("inf"))):
        ink = {FAILED: _RED, PAST: _GREY}.get(driver.look, "#44337a")
        lines = [_Line(driver.name, bold=True), *(_Line(line, _GREY) for line in driver.lines)]
        if driver.look == FAILED:
            lines[-1].colour = _RED
        fill = (
            "#fdeeee" if driver.look == FAILED else "#f4f5f6" if driver.look == PAST else "#f3f0fa"
        )
        box = _Box(x, y, _wide(_RIGHT), lines, ink, fill, "5 4" if driver.look == PAST else "")
        if driver.name in place:
            box.y = max(y, place[driver.name] - box.height / 2)
        box.tooltip = driver.name
        boxes.append(box)
        y = box.y + box.height + _GAP
    return boxes


def _links(left: list[_Box], right: list[_Box]) -> list[str]:
    """A curve from each attempt's line to its driver, spread over the driver's side in order."""
    ends = [(box.middle(line), box, name, look) for box in left for line, name, look in box.ports]
    drawn = []
    for driver in right:
        mine = [one for one in ends if one[2] == driver.tooltip]
        step = min(_PORT, (driver.height - _PAD) / len(mine)) if mine else 0
        for number, (y, box, _, look) in enumerate(mine):
            end = driver.y + driver.height / 2 + step * (number - (len(mine) - 1) / 2)
            start, stop = box.x + box.width, driver.x
            middle = (start + stop) / 2
            ink, dash = _LOOKS[look]
            drawn.append(
                f'<path d="M{start:g} {y:g}C{middle:g} {y:g} {middle:g} {end:.1f} '
                f'{stop - 3:g} {end:.1f}" fill="none" stroke="{ink}" stroke-width="1.8"'
                f"{_dashed(dash)}/>"
                f'<circle cx="{stop - 3:g}" cy="{end:.1f}" r="3" fill="{ink}"/>'
            )
    return drawn


def _drawn(box: _Box) -> str:
    parts = [
        "<g>",
        f"<title>{_text(box.tooltip)}</title>" if box.tooltip else "",
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="5" '
        f'fill="{box.fill}" stroke="{box.stroke}" stroke-width="1.3"{_dashed(box.dash)}/>',
    ]
    room = round((box.width - 2 * _PAD) / _CHARACTER)
    for number, line in enumerate(box.lines):
        y = box.middle(number) + 4
        spare = room - len(line.right) - 2 if line.right else room
        look = {"font_weight": "bold"} if line.bold else {}
        parts.append(_words(box.x + _PAD, y, _cut(line.text, spare), line.colour, **look))
        if line.right:
            end = box.x + box.width - _PAD
            parts.append(
                _words(end, y, line.right, box.stroke, font_weight="bold", text_anchor="end")
            )
    return "".join([*parts, "</g>"])


def _legend(y: float, used: set[str]) -> list[str]:
    """The looks that the picture has, each as a line and a word."""
    parts, x = [], float(_MARGIN)
    for look, word in LEGEND:
        if look in used:
            ink, dash = _LOOKS[look]
            parts.append(
                f'<path d="M{x:g} {y:g}h34" stroke="{ink}" stroke-width="2"{_dashed(dash)}/>'
                + _words(x + 42, y + 4, word, _INK)
            )
            x += 42 + _CHARACTER * len(word) + 3 * _PAD
    return parts


def _dashed(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _words(x: float, y: float, text: str, colour: str, **look: str | int) -> str:
    """LOOK: attributes, with _ for -."""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in look.items())
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" xml:space="preserve"{more}>{_text(text)}</text>'
    )


def _cut(text: str, room: int) -> str:
    """TEXT, escaped, in at most ROOM columns; wide characters take two."""
    shown, used = "", 0
    plain = escape(text)
    for character in plain:
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > room:
            return f"{shown[:-1]}…"
        shown += character
    return shown


def _text(text: str) -> str:
    return for_xml(escape(text))
