# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of the builder that collects the bus, modules and registrations of drivers."""

from __future__ import annotations

from collections.abc import Callable

from virtio_trace.graph.calls import Call
from virtio_trace.graph.follower import Follower
from virtio_trace.graph.model import Driver, Graph
from virtio_trace.recording.evidence import DriverFacts


class DriversBuilder:
    """Adds the drivers, and the calls that are about a driver or the bus, to GRAPH."""

    def __init__(self, graph: Graph, follower: Follower | None) -> None:
        self._graph = graph
        self._follower = follower
        self._kept: dict[int, Driver] = {}
        self._number = 0
        self._early: dict[str, Call] = {}
        self._facts: dict[str | None, DriverFacts | None] = {None: None}
        self.handlers: dict[str | None, Callable[[Call], None]] = {
            "bus_register": self._bus_register,
            "register_virtio_driver": self._register,
            "unregister_virtio_driver": self._unregister,
            "do_init_module": self._init_module,
        }

    def add(self, name: str) -> Driver:
        """Add a registration of the driver NAME, with what the kernel's files say of it."""
        before = self._graph.drivers.get(name)
        driver = Driver(name, self.facts(name), self._number)
        self._number += 1
        self._kept[driver.order] = self._graph.drivers[name] = driver
        follower = self._follower
        if before is not None and follower is not None and follower.driver(before):
            del self._kept[before.order]
        return driver

    def facts(self, name: str | None) -> DriverFacts | None:
        """What the kernel's files say of the driver NAME; None if nothing."""
        if name not in self._facts:
            assert name is not None
            self._facts[name] = self._graph.recording.header.evidence.driver(name)
        return self._facts[name]

    def used(self, call: Call) -> None:
        """CALL uses a driver: remember the first use of a driver that is not registered."""
        name = call.event.driver
        if name is not None:
            driver = self._graph.drivers.get(name)
            if driver is None or driver.unregister is not None:
                self._early.setdefault(name, call)

    def end(self) -> None:
        """Add the drivers that were used but never registered."""
        for name, call in self._early.items():
            self.add(name).early = call
        self._graph.registrations = list(self._kept.values())

    def _bus_register(self, call: Call) -> None:
        self._graph.bus_register = call

    def _register(self, call: Call) -> None:
        name = call.event.driver
        if name is None:
            return
        driver = self.add(name)
        driver.register = call
        self._graph.first_registration = self._graph.first_registration or call
        driver.early = self._early.pop(name, None)
        if driver.facts is not None:
            driver.loaded = self._graph.modules.get(driver.facts.module)

    def _unregister(self, call: Call) -> None:
        name = call.event.driver
        if name is not None:
            driver = self._graph.drivers.get(name) or self.add(name)
            driver.unregister = call

    def _init_module(self, call: Call) -> None:
        detail = call.event.detail
        if detail is not None and detail.name is not None:
            self._graph.inits[detail.name] = call
