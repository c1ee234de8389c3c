# SPDX-License-Identifier: GPL-2.0-or-later
"""What was negotiated in one binding: status, features, virtqueues, interrupts.

VirtIO 3.1.1 defines the order. Values are those that the kernel's functions showed. A driver's
feature tables without an event come from its file or the kernel's memory. What is unknown is None
and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtio_trace.recording.events import Event
from virtio_trace.recording.evidence import DriverFacts
from virtio_trace.virtio.numbers import Status

if TYPE_CHECKING:
    from virtio_trace.graph.calls import Call

NO_VECTOR = 0xFFFF
"""VIRTIO_MSI_NO_VECTOR (include/uapi/linux/virtio_pci.h)."""

_FEATURES = 128
"""Bits in a feature set since Linux 6.17; 64 before."""

MSIX, INTX = "msix", "intx"


@dataclass(frozen=True, slots=True)
class Queue:
    """A virtqueue that was set up. ``size`` is in descriptors; ``vector`` is its MSI-X vector, or
    None."""

    index: int
    name: str | None
    size: int | None
    vector: int | None


@dataclass(slots=True)
class Negotiation:
    """The events inside one virtio_dev_probe that show the negotiation. ``tables`` shows the
    driver's feature tables; ``facts`` is what the kernel's files say of the driver."""

    status: list[Event] = field(default_factory=list)
    offered_by: Event | None = None
    tables: Event | None = None
    features_ok: Call | None = None
    validate: Call | None = None
    find_vqs: list[Call] = field(default_factory=list)
    msix: list[Call] = field(default_factory=list)
    setups: list[Call] = field(default_factory=list)
    facts: DriverFacts | None = None

    @property
    def offered(self) -> int | None:
        """The features that the device offers, as bits; None if unknown."""
        return _features(self.offered_by)

    @property
    def wanted(self) -> int | None:
        """The features in the driver's table, as bits (virtio_dev_probe): the table for legacy
        devices if the device does not offer VIRTIO_F_VERSION_1. None if unknown."""
        if self.offered is None:
            return None
        modern = self.offered >> 32 & 1
        if self.tables is not None and self.tables.detail is not None:
            detail = self.tables.detail
            return _bits(detail.features if modern else detail.legacy)
        if self.facts is None or self.facts.features is None:
            return None
        table = self.facts.features if modern else self.facts.features_legacy
        # a driver without a table for legacy devices uses feature_table for them too
        return sum(1 << bit for bit in {*(table or self.facts.features)} if bit < _FEATURES)

    @property
    def negotiated(self) -> int | None:
        """The negotiated features, as bits: those at DRIVER_OK, or at a FEATURES_OK that the device
        accepted. None if there is neither."""
        for event in reversed(self.status):
            status = event.detail.status or 0 if event.detail is not None else 0
            taken = self.features_ok is not None and self.features_ok.result == 0
            if status & Status.DRIVER_OK or (taken and status & Status.FEATURES_OK):
                return _features(event)
        return None

    @property
    def written(self) -> int | None:
        """The features at the last FEATURES_OK, as bits, even if the device did not accept them."""
        for event in reversed(self.status):
            if event.detail is not None and (event.detail.status or 0) & Status.FEATURES_OK:
                return _features(event)
        return None

    @property
    def interrupts(self) -> str | None:
        """``msix``, or ``intx`` if each attempt at MSI-X failed and find_vqs succeeded; None if
        unknown."""
        found = self.find_vqs[-1] if self.find_vqs else None
        if found is None or found.result != 0:
            return None
        tries = [call for call in self.msix if call.inside(found)]
        if not tries or any(call.result is None for call in tries):
            return None
        return MSIX if any(call.result == 0 for call in tries) else INTX

    def queues(self) -> list[Queue] | None:
        """The virtqueues by index, as each was last set up; None if nothing of them was seen."""
        found: dict[int, Queue] = {}
        intx = self.interrupts == INTX
        for call in self.setups:
            entry = call.entry.detail if call.entry else None
            ret = call.ret.detail if call.ret else None
            known = (detail.queue for detail in (entry, ret) if detail is not None)
            index = next((number for number in known if number is not None), None)
            if index is None:
                continue
            vector = entry.vector if entry else None
            found[index] = Queue(
                index,
                entry.name if entry else ret.name if ret else None,
                ret.size if ret else None,
                None if intx or vector == NO_VECTOR else vector,
            )
        if not found and not self.find_vqs:
            return None
        return [found[index] for index in sorted(found)]


def _features(event: Event | None) -> int | None:
    return _bits(event.detail.features) if event is not None and event.detail else None


def _bits(text: str | None) -> int | None:
    return None if text is None else int(text, 16)
