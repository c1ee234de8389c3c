# SPDX-License-Identifier: GPL-2.0-or-later
"""One line of the trace ring's text: what was fetched, and what it shows of a negotiation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from virtio_trace.recording.events import Detail
from virtio_trace.tracer.ftrace.definitions import Definition
from virtio_trace.tracer.ftrace.fetchargs import TABLE_LENGTH
from virtio_trace.tracer.points import shape

LINE = re.compile(
    r"(?P<comm>.{0,20}?)-(?P<tid>[0-9]{1,10})\s+(?:\([ \d-]+\)\s+)?\[(?P<cpu>[0-9]{3,9})\]\s+"
    r"(?:[^\s:]+\s+)?(?P<s>[0-9]{1,9})\.(?P<us>[0-9]{6}): (?P<name>\w+): (?P<rest>.*)"
)
"""Thread, processor, time, and the event with its arguments (kernel/trace/trace_output.c)."""

_PROBED = re.compile(r"\((?:[^()]+)\)(?P<arguments>.*)")
_ARGUMENT = re.compile(r' (\w)=(?:"(.*?)"(?= \w=|$)|(\(fault\))|\{([^}]*)\}|(\S+))')
_FEATURES = 128

Fetched = Mapping[str, int | str | tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Hit:
    """One line: its definition, and what it fetched. ``fetched`` lacks what could not be read."""

    definition: Definition
    tid: int
    fetched: Fetched

    def number(self, name: str) -> int | None:
        """The 64 bits that NAME fetched; None if it is not a number."""
        value = self.fetched.get(name)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str | None:
        """The string that NAME fetched; None if it is not one."""
        value = self.fetched.get(name)
        return value if isinstance(value, str) else None

    def low(self, name: str, bits: int = 32) -> int | None:
        """The lower BITS of what NAME fetched."""
        value = self.number(name)
        return None if value is None else value & (1 << bits) - 1

    def pair(self, name: str, other: str, bits: int = 32) -> tuple[int | None, int | None]:
        """Two numbers; adjacent ones were fetched as one argument (fetchargs._pair)."""
        first, second = self.low(name, bits), self.low(other, bits)
        whole = self.number(name)
        if other not in self.fetched and whole is not None:
            second = whole >> bits & (1 << bits) - 1
        return first, second


def fetched(text: str, definition: Definition) -> Fetched | None:
    """The arguments after an event's name; None if they are not those of DEFINITION."""
    probed = _PROBED.fullmatch(text)
    if probed is None:
        return None
    text = probed["arguments"]
    found: dict[str, int | str | tuple[int, ...]] = {}
    end = names = 0
    for match in _ARGUMENT.finditer(text):
        if match.start() != end:
            return None
        end, names = match.end(), names + 1
        name, string, fault, array, number = match.groups()
        try:
            if string is not None:
                found[name] = string
            elif array is not None:
                found[name] = tuple(_number(one) for one in array.split(",") if one)
            elif fault is None:
                found[name] = _number(number, -_SIGNED_END if name == _RESULT else 0)
        except ValueError:
            return None
    return found if end == len(text) and names == len(definition.arguments) else None


_RESULT, _SIGNED_END = "x", 1 << 63
"""$retval is fetched as x; since Linux 6.12 the kernel prints it with its sign (x=-19)."""


def _number(text: str, least: int = 0) -> int:
    """A register or a word of memory, from LEAST to 2^64 - 1. Raises ValueError."""
    number = int(text, 0)
    if not least <= number < 1 << 64:
        raise ValueError(text)
    return number


def entry_detail(hit: Hit) -> Detail | None:
    """What an entry shows besides its device and driver."""
    point = hit.definition.point
    kind = point.detail
    if point.subject == shape.MODULE_STRUCT:
        name = hit.text("n")
        return Detail(name=name) if name else None
    if kind in (shape.STATUS, shape.RESET):
        status = hit.low("s", 8) if kind == shape.STATUS else 0
        return Detail(status=status, features=_features(hit))
    if kind == shape.COUNT:
        return Detail(count=hit.low("c"))
    if kind in (shape.QUEUE, shape.QUEUE_NO_VECTOR):
        return Detail(queue=hit.low("q"), name=hit.text("n"), vector=hit.low("w", 16))
    return _tables(hit) if kind == shape.TABLE else None


def return_detail(hit: Hit, extended: bool | None) -> Detail | None:
    """What a return shows. EXTENDED: the features are in an array; None: the entry is unknown."""
    kind = hit.definition.point.detail
    if kind == shape.FEATURES:
        value = f"{hit.number('x') or 0:#x}"
        features = _features(hit) if extended else value if extended is False else None
        return Detail(features=features) if features else None
    name = hit.text("n")
    if kind in (shape.QUEUE, shape.QUEUE_NO_VECTOR) and name is not None:
        index, size = hit.pair("q", "z")
        return Detail(queue=index, size=size, name=name)
    return None


def _features(hit: Hit) -> str | None:
    words = hit.number("f"), hit.number("g")
    return None if words[0] is None else f"{words[0] | (words[1] or 0) << 64:#x}"


def _tables(hit: Hit) -> Detail:
    """The driver's tables. Without one for legacy devices, the other is used for them, too
    (drivers/virtio/virtio.c, virtio_dev_probe)."""
    features = _mask(hit, "t", "k")
    return Detail(features=features, legacy=_mask(hit, "u", "l") if hit.number("j") else features)


def _mask(hit: Hit, table: str, length: str) -> str | None:
    bits, count = hit.fetched.get(table), hit.low(length)
    if not isinstance(bits, tuple) or count is None or count > min(len(bits), TABLE_LENGTH):
        return None  # longer than what was fetched
    return f"{sum(1 << bit for bit in set(bits[:count]) if bit < _FEATURES):#x}"
