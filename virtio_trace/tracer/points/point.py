# SPDX-License-Identifier: GPL-2.0-or-later
"""A probe point: one row of the table, and what a row must have. Checked when it is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from virtio_trace.tracer.points import shape

_LETTER = re.compile(r"[a-z]{1,2}")
_QUEUES = (shape.QUEUE, shape.QUEUE_NO_VECTOR)


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """A function's entry and return, and how they are shown.

    ``name`` is the same on every kernel; ``symbols`` are the function's names, newest first.
    ``module`` is the function's module if it is not built in (None: always built in). ``subject``
    says what the first argument points to (enum vt_subject), ``detail`` what else the event shows
    (enum vt_detail). ``without`` says what is not seen if the point cannot be armed.

    ``letter`` names the point in the trace ring: lower case at entry, upper case at return. Where
    all single letters are taken, it is two.
    ``priority`` is its place on the kernel's command line, lowest first. Both are unique to a name.

    ``arg2_driver``: the second argument is a driver. ``entry`` and ``returns``: which of the two
    makes an event. ``result``: the return value has a meaning. ``reread``: the return shows what
    the function wrote to the device (its index) or to an argument. ``redescribe``: the device may
    be at an address that another one had. ``binds``: from its entry to its return, the device has
    the same driver. ``announces``: nothing happens to a device before the
    entry of one of these points. ``every``: a kernel may have several functions of this name, and
    all are meant (vp_set_status of the modern and the legacy PCI interface). ``optional``: a kernel
    may be built without the function; that it is absent is then no loss. ``user_space``: only
    happens once user space has started.

    Raises ValueError if the row is not valid.
    """

    name: str
    symbols: tuple[str, ...]
    module: str | None
    subject: int
    without: str
    letter: str
    priority: int
    arg2_driver: bool = False
    entry: bool = True
    returns: bool = True
    detail: int = shape.PLAIN
    every: bool = False
    result: bool = True
    reread: bool = False
    redescribe: bool = False
    binds: bool = False
    announces: bool = False
    optional: bool = False
    user_space: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a probe point has no name")
        where = f"probe point {self.name}"
        if not _LETTER.fullmatch(self.letter):
            raise ValueError(f"{where}: its letter {self.letter!r} is not one or two of a to z")
        if self.priority < 1:
            raise ValueError(f"{where}: its priority {self.priority} is not positive")
        if not self.symbols or not all(self.symbols):
            raise ValueError(f"{where}: it names no function")
        if self.subject not in shape.SUBJECTS:
            raise ValueError(f"{where}: no enum vt_subject has the number {self.subject}")
        if self.detail not in shape.DETAILS:
            raise ValueError(f"{where}: no enum vt_detail has the number {self.detail}")
        if not (self.entry or self.returns):
            raise ValueError(f"{where}: neither its entry nor its return makes an event")
        if self._named and self._saves:
            raise ValueError(f"{where}: an entry with a name saves no arguments for the return")

    @property
    def _saves(self) -> bool:
        # The return of bus_register for another bus makes no event: it must know its entry.
        return self.reread or self.subject == shape.BUS_TYPE

    @property
    def _named(self) -> bool:
        return self.subject == shape.MODULE_STRUCT or self.detail in _QUEUES

    def shape(self, redescribe: bool) -> int:
        """How the BPF program reads it (enum vt_shape); REDESCRIBE: whatever the row says."""
        virtio = self.subject in (shape.VIRTIO_DEVICE, shape.DEVICE)
        return (
            self.subject
            | self.detail << 4
            | shape.ARG2_DRIVER * self.arg2_driver
            | shape.SAVE_ARGS * self._saves
            | shape.REDESCRIBE * (redescribe or self.redescribe or not virtio)
            | shape.RETURN_ONLY * (not self.entry)
            | shape.NAMED * self._named
            | shape.RETURNS * self.returns
            | shape.BINDS * self.binds
        )

    def programs(self) -> tuple[str, ...]:
        """The functions of probe.bpf.c: for the entry and, if it makes an event, the return."""
        form = self.shape(False)
        entry = "vt_entry_named" if form & shape.NAMED else "vt_entry"
        if not self.returns:
            return (entry,)
        return (entry, "vt_return_kept" if form & shape.SAVE_ARGS else "vt_return")


def check_table(points: Iterable[ProbePoint], named: Iterable[str] = ()) -> None:
    """Check rows against each other. NAMED are names that other code refers to.

    Raises ValueError if two names share a letter or a priority, if rows of one name differ in
    them, or if a name in NAMED is not the name of a row.
    """
    by_name: dict[str, ProbePoint] = {}
    letters: dict[str, str] = {}
    priorities: dict[int, str] = {}
    for point in points:
        known = by_name.setdefault(point.name, point)
        if (known.letter, known.priority) != (point.letter, point.priority):
            raise ValueError(f"probe point {point.name}: rows differ in their letter or priority")
        other = letters.setdefault(point.letter, point.name)
        if other != point.name:
            raise ValueError(f"probe points {other} and {point.name} share letter {point.letter!r}")
        other = priorities.setdefault(point.priority, point.name)
        if other != point.name:
            raise ValueError(
                f"probe points {other} and {point.name} share priority {point.priority}"
            )
    for name in named:
        if name not in by_name:
            raise ValueError(f"{name!r} is not the name of a probe point")
