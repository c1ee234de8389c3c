# SPDX-License-Identifier: GPL-2.0-or-later
"""HTML, made by functions that escape whatever is not HTML already.

Names come from a guest, which may choose them to run a script in the reader's browser. A string is
text; only what :func:`tag` returns is HTML. There are no inline styles and no event attributes: the
page's Content-Security-Policy forbids both.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from virtio_trace.render.escape import escape

_VOID = frozenset({"br", "input", "meta"})
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}

Value = str | int | float | bool | None


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def text(plain: object) -> Html:
    """PLAIN as HTML, between tags or in a quoted attribute. Unprintable characters become
    escapes such as ``\\x1b``."""
    return plain if isinstance(plain, Html) else Html(html.escape(escape(plain), quote=True))


def tag(element: str, /, *children: str, **attributes: Value) -> Html:
    """ELEMENT with CHILDREN. ``class_`` is class, ``data_step`` data-step. An attribute that is
    True has no value; None and False leave it out."""
    shown = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if element in _VOID:
        return Html(f"<{element}{shown}>")
    return Html(f"<{element}{shown}>{''.join(map(text, children))}</{element}>")


def join(*parts: str) -> Html:
    """PARTS, one after the other."""
    return Html("".join(map(text, parts)))


def table(
    heading: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", **attributes: Value
) -> Html:
    """HEADING and ROWS, whose first cell is a heading too, in a box that can be scrolled. A cell
    may be HTML; a whole ``td`` is taken as it is."""
    head = tag("tr", *(tag("th", cell, scope="col") for cell in heading))
    body = [
        tag("tr", tag("th", first, scope="row"), *(_cell(cell) for cell in rest))
        for first, *rest in rows
    ]
    parts = [tag("caption", caption)] if caption else []
    shown = tag("table", *parts, tag("thead", head), tag("tbody", *body), **attributes)
    return tag("div", shown, class_="scroll")


def script_json(value: Any) -> str:
    """VALUE as JSON that is safe inside ``<script>``: no name can end the element. It is ASCII."""
    plain = json.dumps(value, separators=(",", ":"))
    for character, escaped in _IN_SCRIPT.items():
        plain = plain.replace(character, escaped)
    return plain


def _cell(cell: str) -> Html:
    if isinstance(cell, Html) and cell.startswith("<td"):
        return cell
    return tag("td", cell)


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
