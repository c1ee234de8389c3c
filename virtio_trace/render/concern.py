# SPDX-License-Identifier: GPL-2.0-or-later
"""Which events concern VirtIO. A person who watches sees those; the others are counted.

Others are the load of a module without a VirtIO driver or transport, its init function, and a match
that said no. A stranger's init function in which something of VirtIO happens is shown after all.
"""

from __future__ import annotations

from collections.abc import Iterator

from virtio_trace.graph.calls import Call
from virtio_trace.recording.events import ENTRY, MODULE, RETURN, Event
from virtio_trace.recording.evidence import Evidence

Shown = tuple[Event, Call | None]

_CORE = frozenset(
    {
        "virtio",
        "virtio_dma_buf",
        "virtio_pci_legacy_dev",
        "virtio_pci_modern_dev",
        "virtio_ring",
    }
)
"""Modules of drivers/virtio/ that have neither a driver nor a transport."""

_MATCH, _INIT = "virtio_dev_match", "do_init_module"


class Concern:
    """Takes every event with its call, in order; passes on those that concern VirtIO.

    A call that may be left out is held until it returns, or until its thread does something else.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._modules = evidence.modules | _CORE
        self._held: dict[int, list[Shown]] = {}
        self.loads = 0
        self.inits = 0
        self.matches = 0

    def pass_on(self, event: Event, call: Call | None) -> Iterator[Shown]:
        """What is to be shown now: EVENT, and events that were held before it."""
        if event.kind == MODULE:
            if event.module in self._modules:
                yield event, call
            else:
                self.loads += 1
            return
        held = self._held.get(event.tid)
        if event.kind == ENTRY and self._may_be_left_out(event):
            self._held.setdefault(event.tid, []).append((event, call))
            return
        ends = event.kind == RETURN and held and held[-1][1] is call
        if held and ends and self._is_left_out(event):
            held.pop()
            return
        yield from self._held.pop(event.tid, ())
        yield event, call

    def summary(self) -> str:
        """``20 loads and 20 inits of other modules, 6 non-matches``; "" if nothing was left out."""
        counted = ((self.loads, "load"), (self.inits, "init"))
        modules = " and ".join(_number(count, word) for count, word in counted if count)
        parts = [f"{modules} of other modules" if modules else ""]
        if self.matches:
            parts.append(_number(self.matches, "non-match", "es"))
        return ", ".join(filter(None, parts))

    def _may_be_left_out(self, event: Event) -> bool:
        if event.probe == _INIT:
            return event.detail is not None and event.detail.name not in self._modules
        return event.probe == _MATCH

    def _is_left_out(self, event: Event) -> bool:
        """Counts it if so."""
        if event.probe == _INIT:
            self.inits += 1
            return True
        self.matches += event.result == 0
        return event.result == 0


def _number(count: int, word: str, plural: str = "s") -> str:
    return f"{count} {word}{'' if count == 1 else plural}"
