# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads an event's line without parsing its JSON, if one of the same form was parsed before.

A long recording says the same few hundred things again and again: the lines differ in ``seq``,
``ns``, ``cpu``, ``tid`` and ``duration_ns``. The form of a line is its bytes without those
numbers. What the JSON parser made of one line holds for every line of its form, so a line of a
known form costs a match and a look-up. Every other line is parsed, always.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from virtio_trace.recording.events import Event

_HEAD = re.compile(
    rb'\{"seq":([1-9][0-9]{0,17}),"ns":(0|[1-9][0-9]{0,17}),'
    rb'"cpu":(0|[1-9][0-9]{0,8}),"tid":(0|[1-9][0-9]{0,8}),'
)
_DURATION = b'"duration_ns":'
_DURATION_LENGTH = len(_DURATION)
_is_number = re.compile(rb"0|[1-9][0-9]{0,17}").fullmatch
_AGAIN = re.compile(rb'\\|"(?:seq|ns|cpu|tid)":')
"""Members that would replace those of the head, or names that are written with escapes."""

_MOST = 1 << 14
"""Forms that are kept: a file whose lines all differ must not fill the memory. When there are more,
all are forgotten."""


class LineForms:
    """The forms of one recording's lines."""

    def __init__(self) -> None:
        self._forms: dict[bytes, tuple[Any, ...]] = {}

    def event(self, line: bytes) -> Event | None:
        """The event of LINE; None if its form is not known."""
        return next(self.events((line,), lambda _number, _line: None), None)

    def events(
        self, lines: Iterable[bytes], unknown: Callable[[int, bytes], Event | None], first: int = 0
    ) -> Iterator[Event]:
        """The events of LINES, the first of which has the number FIRST. UNKNOWN gets each line
        whose form is not known, with its number; what it returns follows, or nothing for None.

        It runs for every line of a file, so it calls little.
        """
        find_form, match = self._forms.get, _HEAD.match
        for number, line in enumerate(lines, first):
            head = match(line)
            known = None
            if head is not None:
                after = head.end()
                start = line.find(_DURATION, after)
                if start < 0:
                    known = find_form(line[after:])
                else:
                    start += _DURATION_LENGTH
                    end = line.find(b",", start)
                    if end < 0:
                        end = line.find(b"}", start)
                    digits = line[start:end]
                    if _is_number(digits):
                        known = find_form(line[after:start] + line[end:])
            if known is None or head is None:
                event = unknown(number, line)
                if event is not None:
                    yield event
                continue
            comm, kind, probe, function, module, device, driver, result, detail, fixed = known
            seq, ns, cpu, tid = head.groups()
            yield Event(
                int(seq),
                int(ns),
                int(cpu),
                int(tid),
                comm,
                kind,
                probe,
                function,
                module,
                device,
                driver,
                result,
                fixed if start < 0 else int(digits),
                detail,
            )

    def learn(self, line: bytes, event: Event) -> None:
        """Remember the form of LINE, which was parsed to EVENT, unless it is ambiguous."""
        parts = _split(line)
        if parts is None:
            return
        head, form, duration = parts
        if _AGAIN.search(form) or form.count(_DURATION) > 1:
            return
        if (event.seq, event.ns, event.cpu, event.tid) != tuple(map(int, head)):
            return
        if duration is not None and event.duration_ns != int(duration):
            return
        if len(self._forms) >= _MOST:
            self._forms.clear()
        self._forms[form] = (
            event.comm,
            event.kind,
            event.probe,
            event.function,
            event.module,
            event.device,
            event.driver,
            event.result,
            event.detail,
            event.duration_ns,
        )


def _split(line: bytes) -> tuple[tuple[bytes, ...], bytes, bytes | None] | None:
    """The numbers of the head, the form, and the duration if there is one."""
    head = _HEAD.match(line)
    if head is None:
        return None
    rest = line[head.end() :]
    start = rest.find(_DURATION)
    if start < 0:
        return head.groups(), rest, None
    start += len(_DURATION)
    end = rest.find(b",", start)
    if end < 0:
        end = rest.find(b"}", start)
    digits = rest[start:end]
    if not _is_number(digits):
        return None
    return head.groups(), rest[:start] + rest[end:], digits
