# SPDX-License-Identifier: GPL-2.0-or-later
"""How numbers are written in every format, and how text gets a style."""

from __future__ import annotations

from collections.abc import Callable

from virtio_trace.virtio import numbers

Paint = Callable[[str, str], str]
"""Returns a text with a style (one of STYLES). The visible length does not change."""

STYLES = ("good", "bad", "unsure", "name", "faint", "heading")

NS_PER_S = 1_000_000_000


def plain(text: str, _style: str) -> str:
    """No styles: for files, pipes and NO_COLOR."""
    return text


def seconds(ns: int) -> str:
    """Nanoseconds as seconds with six decimals. Integers, as a float loses digits."""
    sign = "-" if ns < 0 else ""
    micros = abs(ns) // 1000
    return f"{sign}{micros // 1_000_000}.{micros % 1_000_000:06d}"


def duration(ns: int | None) -> str:
    """E.g. ``1.234 ms``; ``?`` if unknown."""
    if ns is None:
        return "?"
    if ns >= 10 * NS_PER_S:
        return f"{ns / NS_PER_S:.3f} s"
    return f"{millis(ns)} ms"


def millis(ns: int) -> str:
    """Nanoseconds as milliseconds, without the unit."""
    return f"{ns / 1_000_000:.3f}"


def result(value: int | None) -> str:
    """E.g. ``0``, ``-22 EINVAL``; ``?`` if unknown."""
    if value is None:
        return "?"
    name = numbers.errno_name(value)
    return f"{value} {name}" if name else str(value)


def count(number: int, thing: str) -> str:
    """E.g. ``1 event``, ``2 events``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
