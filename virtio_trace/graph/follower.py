# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands over what is complete while events are still read, so that it need not be kept.

A device is handed over when another one has come at its address, a registration of a driver when
the driver has registered again. Their calls may still be open then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device, Driver, Graph


class Watched(NamedTuple):
    """A call, and whether it is the ``probe`` of a binding."""

    call: Call
    is_bindings: bool


class Follower:
    """Takes what is complete. The methods of this class take nothing."""

    watches: frozenset[str] = frozenset()
    """The probe points whose calls :meth:`settled` gets."""

    places = False
    """Whether each call is to have its ``device``, and the methods from :meth:`entered` on are to
    be called."""

    def begin(self, graph: Graph) -> None:
        """The events of GRAPH are about to be read."""

    def device(self, device: Device) -> bool:
        """Take DEVICE, which is not the last at its address. False: it is to be kept."""
        return False

    def driver(self, driver: Driver) -> bool:
        """Take DRIVER, which is not the last of its name. False: it is to be kept."""
        return False

    def entered(self, call: Call) -> None:
        """CALL was entered; also for a return without an entry."""

    def returned(self, call: Call) -> None:
        """CALL has returned, or is a hit or the load of a module."""

    def lost(self, number: int, ns: int) -> None:
        """NUMBER events are missing, after an event at NS."""

    def settled(self, watched: Watched) -> None:
        """Everything that ran inside or around the call has returned, or the recording has ended.
        In the order in which the calls were entered."""


class Succession:
    """Decides when a device is the last one no more, and hands it to FOLLOWER.

    A virtio-mmio slot that turns out to be empty does not replace the device before it: that one
    waits until the slot is known to have a device.
    """

    def __init__(self, graph: Graph, kept: dict[int, Device], follower: Follower | None) -> None:
        self._graph = graph
        self._kept = kept
        self._follower = follower
        self._waiting: dict[str, Device] = {}

    def came(self, device: Device, before: Device) -> None:
        """DEVICE was created, after BEFORE at the same address."""
        if self._follower is None:
            return
        waiting = self._waiting.pop(device.address, None)
        if before.maybe_empty:
            if waiting is not None:
                self._waiting[device.address] = waiting
            self._complete(before)
            return
        if waiting is not None:
            self._complete(waiting)
        self._waiting[device.address] = before

    def registered(self, device: Device) -> None:
        """DEVICE was registered: it is no empty slot."""
        waiting = self._waiting.pop(device.address, None)
        if waiting is not None:
            self._complete(waiting)

    def end(self) -> None:
        """Count what was not handed over."""
        for device in self._graph.devices:
            self._count(device)

    def _complete(self, device: Device) -> None:
        graph = self._graph
        if self._follower is None:
            return
        self._count(device)
        if self._follower.device(device):
            del self._kept[device.order]
            device.bindings.clear()  # they refer to the device
        else:
            graph.tries_of_name[device.name] -= len(device.bindings)  # end() counts them

    def _count(self, device: Device) -> None:
        self._graph.tries_of_name[device.name] += len(device.bindings)
        first = self._graph.first_of
        if not device.maybe_empty:
            first[device.address] = min(device.order, first.get(device.address, device.order))


class Watch:
    """Calls that FOLLOWER watches, until everything that they are inside of has returned."""

    def __init__(self, follower: Follower | None) -> None:
        self._follower = follower
        self._queue: deque[Watched] = deque()

    def entered(self, call: Call, last: Mapping[str, Device]) -> None:
        """CALL, which is watched, was entered; LAST has the device at each address."""
        ref = call.event.device
        device = last.get(ref.address) if ref is not None else None
        last_one = device.bindings[-1] if device is not None and device.bindings else None
        is_bindings = last_one is not None and last_one.probe is call
        self._queue.append(Watched(call, is_bindings))

    def drain(self) -> None:
        """Hand over the calls that are settled."""
        queue, follower = self._queue, self._follower
        while queue and follower is not None and not queue[0].call.root.is_open:
            follower.settled(queue.popleft())

    def end(self) -> None:
        """Hand over the rest."""
        while self._queue and self._follower is not None:
            self._follower.settled(self._queue.popleft())
