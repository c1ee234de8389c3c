# SPDX-License-Identifier: GPL-2.0-or-later
"""Events as lines of text, as they happen: indented by nesting, a leaf call on one line.

Lines are in the order of the events of all threads. A call with another event before its return is
opened with ``{`` and closed with ``}``, as in perf trace and ftrace.
"""

from __future__ import annotations

from typing import Any

from virtio_trace.graph.calls import Call, Nester
from virtio_trace.recording import events as ev
from virtio_trace.recording.events import Event
from virtio_trace.render import details
from virtio_trace.render.concern import Concern
from virtio_trace.render.details import Piece
from virtio_trace.render.escape import escape
from virtio_trace.render.words import Paint, duration, plain, result, seconds
from virtio_trace.virtio import numbers

_INDENT, _NARROW_INDENT = 2, 1
_NARROW = 100
"""Columns. A terminal with fewer has less room for indentation, and, where bits are names, the
thread without its name."""
_TID_WIDTH = 6
_TASK_WIDTH = 15
_TASK_WIDEST = 24
_MOST = 1000
"""Openings of lines that are remembered."""
_OF_A_PAIR = (
    "virtio_dev_match",
    "virtio_dev_probe",
    "register_virtio_driver",
    "unregister_virtio_driver",
)
"""Calls about a driver: its name is never left out. Elsewhere the lines around it say it."""


class Lines:
    """Takes every event in order and returns lines.

    ``width`` is a terminal's: longer lines leave out what nearby lines say, and below 100 columns
    the name of the thread. ``numbered`` puts
    sequence numbers in front. With ``concern``, events that it does not pass on have no line.
    ``names``: bits are names, which may need lines of their own, in the same string; else features
    are hexadecimal. Times are seconds since boot, as in a report and in dmesg.
    """

    def __init__(
        self,
        width: int | None = None,
        numbered: bool = False,
        paint: Paint = plain,
        concern: Concern | None = None,
        names: bool = False,
    ) -> None:
        self._concern = concern
        self._names = names
        self._width = width
        self._indent = _INDENT if width is None or width >= _NARROW else _NARROW_INDENT
        self._numbered = numbered
        self._paint = paint
        self._nester = Nester()
        self._openings: dict[tuple[Any, ...], tuple[Call, list[Piece]]] = {}
        self._held: Call | None = None
        self._last: Call | None = None
        self._is_narrow = names and width is not None and width < _NARROW
        self._task_width = _TID_WIDTH if self._is_narrow else _TASK_WIDTH

    def add(self, event: Event) -> list[str]:
        """The lines that EVENT completes: none if its call may still end on the same line."""
        call = self._nester.add(event)
        if self._concern is None:
            return self._add(event, call)
        return [line for one in self._concern.pass_on(event, call) for line in self._add(*one)]

    def _add(self, event: Event, call: Call | None) -> list[str]:
        if event.kind == ev.HIT:
            assert call is not None
            return [*self.flush(), self._line(event, call, self._opening(call), [])]
        if call is None:
            return [*self.flush(), self._module(event)]
        if call is self._held:
            self._held = None
            self._last = call.parent
            return [self._line(call.event, call, self._opening(call), _ending(call))]
        lines = self.flush()
        if event.kind == ev.ENTRY:
            self._held = self._last = call
        else:
            lines.append(self._closing(event, call))
            self._last = call.parent
        return lines

    def flush(self) -> list[str]:
        """The line of the call whose end was awaited, if any."""
        held, self._held = self._held, None
        if held is None:
            return []
        return [self._line(held.event, held, self._opening(held), [(" {", "faint")])]

    def _opening(self, call: Call) -> list[Piece]:
        """What opening() returns: made once for all calls that differ in numbers only."""
        event, entry, ret = call.event, call.entry, call.ret
        key = (
            event.probe, event.function, event.module, event.driver, id(event.device),
            None if entry is None else id(entry.detail),
            None if ret is None else (id(ret.device), id(ret.detail)),
        )  # fmt: skip
        known = self._openings.get(key)
        if known is None:
            if len(self._openings) >= _MOST:
                self._openings.clear()
            # the call keeps alive what the key has the ids of
            known = self._openings[key] = Call(entry, ret, None), opening(call, self._names)
        return known[1]

    def _module(self, event: Event) -> str:
        name = escape(event.module)
        return self._line(event, None, [("load module ", "faint"), (name, "name")], [])

    def _closing(self, event: Event, call: Call) -> str:
        if call.entry is None:
            return self._line(event, call, self._opening(call), _ending(call))
        # After lines of other calls the brace alone would not tell which call ends.
        name = "" if self._last is call else f" {escape(event.function)}"
        return self._line(event, call, [("}", "faint"), (name, "name")], _ending(call))

    def _line(self, event: Event, call: Call | None, pieces: list[Piece], end: list[Piece]) -> str:
        task = str(event.tid) if self._is_narrow else f"{escape(event.comm)}/{event.tid}"
        self._task_width = min(max(self._task_width, len(task)), _TASK_WIDEST)
        number = f"{event.seq:5d} " if self._numbered else ""
        head = f"{number}{seconds(event.ns):>10} "
        task = f"{task:<{self._task_width}} "
        indent = " " * (self._indent * (call.depth if call is not None else 0))
        room = None if self._width is None else self._width - len(head) - len(task) - len(indent)
        below: list[str] = []
        if room is not None and self._names:
            pieces, below = details.moved_below(pieces, end, room)
        body = _fit(pieces, end, room, _said_above(call))
        paint = self._paint
        shown = "".join(paint(text, style) if style else text for text, style in body)
        line = f"{paint(head, 'faint')}{paint(task, 'faint')}{indent}{shown}".rstrip()
        left = " " * (len(head) + len(task) + len(indent))
        return "\n".join([line, *(left + text for text in below)])


def _fit(
    pieces: list[Piece], end: list[Piece], room: int | None, said: Piece | None = None
) -> list[Piece]:
    """PIECES and END; while they are too long the least important is dropped.

    The order: what is faint, the duration last of it; SAID, which a line above says; and then from
    the end what is known of the call, but neither its function nor its result.
    """
    whole = [*pieces, *end]
    if room is None:
        return whole
    spare = pieces[1:]
    spare += [said] if said in pieces else []
    spare += [p for p in (*end, *pieces) if p[1] == "faint" and p[0] not in ("}", " {")]
    while spare and sum(len(text) for text, _ in whole) > room:
        last = spare.pop()
        if last in whole:
            whole.remove(last)
    return whole


def _said_above(call: Call | None) -> Piece | None:
    """The address of CALL's device, if the call around it is about the same one."""
    device = call.event.device if call is not None else None
    around = call.parent.event.device if call is not None and call.parent is not None else None
    if device is None or around is None or device.address != around.address:
        return None
    return f" {escape(device.address)}", ""


def opening(call: Call, names: bool = False) -> list[Piece]:
    """What a line says of CALL before its outcome, e.g. ``virtnet_probe [virtio_net] 0000:00:02.0
    virtio0 net virtio_net``. NAMES: see Lines."""
    event = call.event
    pieces = [(escape(event.function or event.probe), "name")]
    if event.module is not None:
        pieces.append((f" [{escape(event.module)}]", "faint"))
    # register_virtio_device assigns the index: only its return has it
    device = call.ret.device if call.ret and call.ret.device else event.device
    if device is not None:
        pieces.append((f" {escape(device.address)}", ""))
        if device.index is not None:
            pieces.append((f" virtio{device.index}", "faint"))
        if device.id is not None:
            pieces.append((f" {numbers.device_type(device.id)}", "faint"))
    if event.driver is not None:
        spared = event.probe not in _OF_A_PAIR
        pieces.append((f" {escape(event.driver)}", "faint" if spared else ""))
    return pieces + details.pieces(call, names)


def _ending(call: Call) -> list[Piece]:
    ret = call.ret
    assert ret is not None
    pieces: list[Piece] = []
    if ret.result is not None:
        pieces.append((f" = {result(ret.result)}", _style(ret)))
        if ret.probe == "virtio_dev_match" and ret.result == 1:
            pieces.append((" (match)", "faint"))
    if ret.duration_ns is not None:
        pieces.append((f" <{duration(ret.duration_ns)}>", "faint"))
    if call.entry is None:
        pieces.append((" (entry not seen)", "unsure"))
    return pieces


def outcome(ret: Event) -> str:
    """What RET returned, in words."""
    if ret.probe == "virtio_dev_match" and ret.result == 1:
        return "1 (match)"
    return result(ret.result)


def _style(ret: Event) -> str:
    assert ret.result is not None
    if ret.result < 0:
        return "bad"
    if ret.probe == "virtio_dev_match":
        return "good" if ret.result else "faint"
    return "good" if ret.result == 0 else "unsure"
