# SPDX-License-Identifier: GPL-2.0-or-later
"""What an event shows of the negotiation, in a line of a trace: status, features, virtqueue."""

from __future__ import annotations

from virtio_trace.graph.calls import Call
from virtio_trace.graph.negotiation import NO_VECTOR
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import wrap
from virtio_trace.virtio import features, numbers

Piece = tuple[str, str]
"""A text and its style; "" is no style."""

_WHAT = {"driver_features": "wants", "get_features": "offers"}
_LISTS = (*_WHAT.values(), "features", "legacy")
_NO_VECTOR = " no vector"
_FEWEST = 40
"""Columns for the names of features below their call, on however narrow a terminal."""
_INDENT = 4


def pieces(call: Call, names: bool) -> list[Piece]:
    """The status, features, virtqueue or module name of CALL. With NAMES, bits are names (those of
    features without VIRTIO_NET_F_ and the like); else the status is hexadecimal and its names are
    faint, and features are hexadecimal."""
    entry = call.entry.detail if call.entry else None
    ret = call.ret.detail if call.ret else None
    detail = entry or ret
    if detail is None:
        return []
    shown: list[str] = []
    spare: list[Piece] = []
    if detail.name is not None:
        shown.append(escape(detail.name))
    if detail.status is not None:
        known = numbers.status_names(detail.status)
        if names:
            shown.append(f"status={'|'.join(known) or 'reset'}")
        else:
            shown.append(f"status={detail.status:#x}")
            spare.append((f" ({' '.join(known) or 'reset'})", "faint"))
    elif detail.features is not None:
        what = _WHAT.get(str(call.event.probe), "features")
        shown.append(f"{what}={_features(call, detail.features, names)}")
    if detail.legacy is not None:
        text = _features(call, detail.legacy, names)
        if names:
            shown.append(f"legacy={_briefly(text, _features(call, detail.features, names))}")
        else:
            spare.append((f" legacy={text}", "faint"))
    if detail.count is not None:
        shown.append(f"queues={detail.count}")
    if detail.queue is not None:
        shown.append(f"queue={detail.queue}")
    if detail.vector is not None:
        shown.append(
            _NO_VECTOR.strip() if detail.vector == NO_VECTOR else f"vector={detail.vector}"
        )
    if ret is not None and ret.size is not None:
        shown.append(f"size={ret.size}")
    return [(f" {text}", "") for text in shown] + spare


def moved_below(line: list[Piece], end: list[Piece], room: int) -> tuple[list[Piece], list[str]]:
    """LINE without its lists of features, and these as lines of ROOM columns, if LINE and END are
    longer than that; without any detail, if it is still too long without what is faint."""
    whole = [*line, *end]
    if sum(len(text) for text, _ in whole) <= room:
        return line, []
    lists = [text for text, _ in line if _label(text) in _LISTS]
    moved = lists if any("|" in text for text in lists) else []
    if sum(len(text) for text, style in whole if style != "faint" and text not in moved) > room:
        moved = [text for text, style in line[1:] if not style and _is_detail(text)]
    most = max(room, _FEWEST) - _INDENT
    joined = "".join(moved).strip().replace("|", "| ")
    below = [f"{' ' * _INDENT}{part.replace('| ', '|')}" for part in wrap(joined, most)]
    return [piece for piece in line if piece[0] not in moved], below if moved else []


def _is_detail(text: str) -> bool:
    """Whether the piece TEXT is one of :func:`pieces`, not the address or the driver."""
    return "=" in text or text == _NO_VECTOR


def _label(text: str) -> str:
    return text.strip().partition("=")[0]


def _briefly(legacy: str, wants: str) -> str:
    """The names of a driver's table for legacy devices; only what it has more than WANTS, after a
    plus sign, if it lacks nothing of that."""
    more, usual = legacy.split("|"), wants.split("|")
    if legacy == wants:
        return "none" if legacy == "none" else "same"
    if set(usual) - set(more):
        return legacy
    return "+" + "|".join(name for name in more if name not in usual)


def _features(call: Call, text: str | None, names: bool) -> str:
    """Hexadecimal, also where the device type is not known: it decides what bits 0 to 23 mean."""
    if text is None:
        return ""
    device = call.ret.device if call.ret and call.ret.device else call.event.device
    if not names or device is None or device.id is None:
        return text
    known = features.names(device.id, numbers.bits(int(text, 16)))
    return "|".join(features.short(name).replace(" ", "-") for name in known) or "none"
