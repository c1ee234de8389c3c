# SPDX-License-Identifier: GPL-2.0-or-later
"""The events as rows of numbers, for the page's script.

A row is a call, a hit or the load of a module: event, ns after the previous row, duration in ns
(-1: unknown), depth, then numbers of entries in the tables (-1: none): thread, device, driver,
probe point, text, outcome; last, flags. Names are in the tables once, escaped for reading.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from virtio_trace.graph.calls import Call
from virtio_trace.recording.events import MODULE, RETURN, Event
from virtio_trace.recording.source import Source
from virtio_trace.render.concern import Concern
from virtio_trace.render.escape import escape
from virtio_trace.render.lines import opening
from virtio_trace.render.words import result as words_of

FIRST, LAST = 15_000, 5_000
"""Rows that are kept of the beginning and of the end of a long recording."""

BAD, CONCERNS, OPEN = 1, 2, 4
"""Flags: returned an error; concerns VirtIO; its return was not seen."""

_INIT, _MATCH = "do_init_module", "virtio_dev_match"


class Table:
    """Numbers for names."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str | None, int] = {None: -1}

    def number(self, name: str | None) -> int:
        """The number of NAME; -1 for None."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(escape(name))
        return found


@dataclass(slots=True)
class _Row:
    """``call`` is None for the load of a module; its return may come later. ``concerns``: see
    render/concern.py."""

    event: Event
    call: Call | None
    concerns: bool = False


class Rows:
    """Takes the events of RECORDING in order. Of a long one it keeps the first rows, the last ones,
    and those of the events in NAMED. ``total`` counts all rows, ``ended_ns`` is the last time."""

    def __init__(self, recording: Source, named: frozenset[int]) -> None:
        evidence = recording.header.evidence
        self._concern = Concern(evidence)
        self._driver_of = {facts.module: facts.name for facts in evidence.drivers}
        self._named = named
        self._first: list[_Row] = []
        self._middle: list[_Row] = []
        self._last: deque[_Row] = deque()
        self._open: dict[int, _Row] = {}
        self.total = 0
        self.ended_ns = 0

    def add(self, event: Event, call: Call | None) -> None:
        """Take EVENT and its CALL, None for the load of a module."""
        self.ended_ns = max(self.ended_ns, event.ns)
        is_end = event.kind == RETURN and call is not None and call.entry is not None
        if not is_end:
            row = self._open[id(call or event)] = _Row(event, call)
            self.total += 1
            self._keep(row)
        for shown, its_call in self._concern.pass_on(event, call):
            found = self._open.get(id(its_call or shown))
            if found is not None:
                found.concerns = True
        if call is None or call.ret is not None:
            self._open.pop(id(call or event), None)

    def end(self) -> None:
        """No more events come."""
        self._open.clear()

    @property
    def dropped(self) -> int:
        """How many rows are not kept."""
        return self.total - len(self._first) - len(self._middle) - len(self._last)

    def to_json(self) -> dict[str, Any]:
        """The rows, and the tables by name."""
        made = _Maker(self._driver_of)
        rows = [made.row(row) for row in self._kept()]
        return {"rows": rows, **{name: table.names for name, table in made.tables.items()}}

    def _kept(self) -> list[_Row]:
        return [*self._first, *self._middle, *self._last]

    def _keep(self, row: _Row) -> None:
        if len(self._first) < FIRST:
            self._first.append(row)
            return
        self._last.append(row)
        if len(self._last) > LAST:
            left = self._last.popleft()
            if not self._named.isdisjoint(left.call.seqs if left.call else (left.event.seq,)):
                self._middle.append(left)


class _Maker:
    """Makes the rows of numbers. DRIVER_OF: the driver in each module."""

    def __init__(self, driver_of: dict[str, str]) -> None:
        self._driver_of = driver_of
        self._before = 0
        names = ("tasks", "devices", "drivers", "probes", "texts", "outcomes")
        self.tables = {name: Table() for name in names}

    def row(self, row: _Row) -> list[int]:
        """ROW in numbers."""
        event, call, tables = row.event, row.call, self.tables
        module = _module(event)
        ret = call.ret if call is not None else None
        result = ret.result if ret is not None else None
        ref, driver = event.device, event.driver or self._driver_of.get(module or "")
        text = f"load module {module}" if call is None else _said(call)
        since, self._before = event.ns - self._before, event.ns
        flags = BAD if result is not None and result < 0 else 0
        if row.concerns:
            flags |= CONCERNS
        if call is not None and ret is None:
            flags |= OPEN | CONCERNS  # what hangs is never left out
        return [
            event.seq,
            since,
            -1 if ret is None or ret.duration_ns is None else ret.duration_ns,
            0 if call is None else call.depth,
            tables["tasks"].number(f"{event.comm}/{event.tid}"),
            tables["devices"].number(ref.address if ref is not None else None),
            tables["drivers"].number(driver),
            tables["probes"].number(event.probe or event.kind),
            tables["texts"].number(text),
            tables["outcomes"].number(None if result is None else _outcome(event, result)),
            flags,
        ]


def _said(call: Call) -> str:
    return "".join(piece for piece, _ in opening(call, True))


def _outcome(event: Event, result: int) -> str:
    return "1 (match)" if event.probe == _MATCH and result == 1 else words_of(result)


def _module(event: Event) -> str | None:
    """The module that a load or an init function is about."""
    if event.kind == MODULE:
        return event.module
    if event.probe == _INIT and event.detail is not None:
        return event.detail.name
    return None
