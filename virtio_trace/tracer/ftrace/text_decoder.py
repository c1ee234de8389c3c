# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes the text of the trace ring: lines in, Events out. definitions.py defines its events.

An event is identified by its name, never by the symbol or thread name in its line: the kernel looks
those up when it prints the line (kernel/trace/trace_output.c). Pure.
"""

from __future__ import annotations

import ctypes as ct
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from virtio_trace.recording import events
from virtio_trace.recording.events import DeviceRef, Event
from virtio_trace.tracer.ftrace.definitions import Definition
from virtio_trace.tracer.ftrace.fetchargs import Offsets
from virtio_trace.tracer.ftrace.text_line import LINE, Hit, entry_detail, fetched, return_detail
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.table import SUBJECTS
from virtio_trace.virtio.transports import BY_MODULE, TRANSPORTS

MODULE_LOAD = "module_load"
"""The event of tracepoint module:module_load."""

UNKNOWN_COMM = "<...>"
"""How the kernel prints the name of a thread that it no longer knows."""

_LOST = re.compile(r"CPU:[0-9]+ \[LOST ([0-9]{1,15}) EVENTS\]")
_INIT = 1

_BUS_OF = {SUBJECTS[transport.argument]: transport.bus for transport in TRANSPORTS}
"""What a transport's probe is called with, to the bus of the device."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A call that has not returned: its entry, the address of its struct virtio_device, and whether
    it writes features to an array."""

    entry: Event
    device: int | None
    extended: bool


class TextDecoder:
    """Decodes lines of trace, trace_pipe or a copy of them, in the ring's order.

    DEFINITIONS are those of the events, under their names in the ring; they also give function and
    module. ``lost`` counts the events that the ring reports as lost and the ``damaged`` lines;
    events of other tools are ignored. ``hits`` counts the events of each name. ``seq`` starts at 1
    and skips a number for each lost event.
    """

    def __init__(self, definitions: Iterable[Definition], offsets: Offsets) -> None:
        self._definitions = {one.name: one for one in definitions}
        self._dev = offsets["virtio_device_dev"]
        self._refs: dict[int, DeviceRef] = {}
        self._drivers: dict[int, str] = {}
        self._calls: dict[tuple[int, int], list[_Open]] = {}
        self._foreign: dict[tuple[int, int], int] = {}
        self._count = 0
        self.lost = 0
        self.damaged: list[str] = []
        self.hits: dict[str, int] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names of the definitions."""
        return frozenset(self._definitions)

    def events(self, lines: Iterable[str]) -> list[Event]:
        """The events of LINES."""
        return [event for line in lines if (event := self.event(line)) is not None]

    def event(self, line: str) -> Event | None:
        """The event of one line, its \\n included; None if it is not an event of ours."""
        if not line.strip() or line.startswith("#"):
            return None
        if not line.endswith("\n"):
            self._damage(line)  # cut off: the last number may have had more digits
            return None
        line = line.rstrip("\r\n")
        lost = _LOST.match(line)
        if lost is not None:
            self.lost += int(lost[1])
            return None
        match = LINE.fullmatch(line.lstrip())
        if match is None:
            self._damage(line)
            return None
        event = self._event(match)
        if event is not None:
            self._count += 1
            event.seq = self._count + self.lost
        return event

    def _damage(self, line: str) -> None:
        self.damaged.append(line)
        self.lost += 1

    def _event(self, match: re.Match[str]) -> Event | None:
        tid, name, rest = int(match["tid"]), match["name"], match["rest"]
        event = Event(
            seq=0,
            ns=int(match["s"]) * 1_000_000_000 + int(match["us"]) * 1000,
            cpu=int(match["cpu"]),
            tid=tid,
            # init changes its name, and the text always has the last one
            comm=UNKNOWN_COMM if tid == _INIT else match["comm"].strip() or UNKNOWN_COMM,
            kind=events.MODULE,
        )
        if name == MODULE_LOAD:
            return self._module(event, match)
        definition = self._definitions.get(name)
        if definition is None:
            return None
        found = fetched(rest, definition)
        if found is None:
            self._damage(match.string)
            return None
        self.hits[name] = self.hits.get(name, 0) + 1
        point, target = definition.point, definition.target
        event.probe, event.function, event.module = point.name, target.symbol, target.module
        hit = Hit(definition, tid, found)
        both = point.entry and point.returns
        if definition.returns:
            event.kind = events.RETURN if both else events.HIT
            return self._return(event, hit)
        event.kind = events.ENTRY if both else events.HIT
        return self._entry(event, hit)

    def _module(self, event: Event, match: re.Match[str]) -> Event | None:
        words = match["rest"].split()
        if not words:
            self._damage(match.string)
            return None
        self.hits[MODULE_LOAD] = self.hits.get(MODULE_LOAD, 0) + 1
        event.module = words[0]
        return event

    def _entry(self, event: Event, hit: Hit) -> Event | None:
        point, key = hit.definition.point, (hit.tid, hit.definition.number)
        if point.subject == shape.BUS_TYPE and hit.text("n") != "virtio":
            self._foreign[key] = self._foreign.get(key, 0) + 1
            return None
        device = self._device(hit)
        event.device = self._ref(hit, device)
        event.driver = self._driver(hit, device)
        event.detail = entry_detail(hit)
        if point.returns:
            self._calls.setdefault(key, []).append(_Open(event, device, bool(hit.number("e"))))
        return event if point.entry else None

    def _return(self, event: Event, hit: Hit) -> Event | None:
        point, key = hit.definition.point, (hit.tid, hit.definition.number)
        calls = self._calls.get(key)
        if point.subject == shape.BUS_TYPE and not calls:
            self._foreign.pop(key, None)
            return None
        if point.result:
            event.result = ct.c_int32(hit.low("x") or 0).value
        event.detail = return_detail(hit, calls[-1].extended if calls else None)
        if calls:
            call = calls.pop()
            if not calls:
                del self._calls[key]
            entry = call.entry
            event.duration_ns = max(0, event.ns - entry.ns)
            event.device, event.driver = entry.device, entry.driver
            event.detail = event.detail or entry.detail
            if point.reread and call.device in self._refs:
                event.device = self._refs[call.device]
                event.driver = self._drivers.get(call.device) or entry.driver
            self._after(event, call.device)
        return event

    # -- devices, identified by their pointers

    def _device(self, hit: Hit) -> int | None:
        """The address of the struct virtio_device."""
        pointer = hit.number("v")
        if pointer is not None and hit.definition.point.subject == shape.DEVICE:
            return pointer - self._dev
        return pointer

    def _ref(self, hit: Hit, device: int | None) -> DeviceRef | None:
        address, subject = hit.text("a"), hit.definition.point.subject
        if subject in _BUS_OF and address:
            vendor, number = hit.pair("p", "o", 16)  # only struct pci_dev has them
            return DeviceRef(address, _BUS_OF[subject], pci_vendor=vendor, pci_device=number)
        if device is None:
            return None
        known = self._refs.get(device)
        if address:
            known = self._described(hit, address)
        elif known is not None and "i" in hit.fetched:
            known = replace(known, index=hit.low("i"))
        if known is not None:
            self._refs[device] = known
        return known

    def _described(self, hit: Hit, address: str) -> DeviceRef:
        """The device by what this event fetched and nothing older: memory is reused."""
        kind, vendor = hit.pair("d", "e")
        transport = BY_MODULE.get(hit.definition.point.module or "")
        return DeviceRef(
            address,
            hit.text("b") or (transport.bus if transport else "unknown"),
            index=hit.low("i") if hit.number("h") else None,
            # the transport sets id before it calls register_virtio_device; until then it is 0
            id=kind or None,
            vendor=vendor if kind else None,
        )

    def _driver(self, hit: Hit, device: int | None) -> str | None:
        point, named = hit.definition.point, hit.text("r")
        if point.name == "virtio_dev_probe" and device is not None and named:
            self._drivers[device] = named
        if named or device is None or point.arg2_driver:
            return named
        return self._drivers.get(device)

    def _after(self, event: Event, device: int | None) -> None:
        """A device has its driver from before virtio_dev_probe until after virtio_dev_remove
        (drivers/base/dd.c), unless the probe fails."""
        if device is None:
            return
        failed = event.probe == "virtio_dev_probe" and event.result != 0
        if failed or event.probe == "virtio_dev_remove":
            self._drivers.pop(device, None)
        elif event.probe == "unregister_virtio_device":
            self._refs.pop(device, None)
