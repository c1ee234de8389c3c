# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as plain data: drivers, devices and bindings (``report --format json``).

Times are nanoseconds since boot (CLOCK_MONOTONIC). None is unknown.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

from virtio_trace.check import empty_slots, kernel_log
from virtio_trace.check.coverage import blind, is_complete
from virtio_trace.check.host_rules import pairs
from virtio_trace.check.proof import Proof
from virtio_trace.check.scope import scope_of
from virtio_trace.graph import builder
from virtio_trace.graph.follower import Follower
from virtio_trace.graph.model import Device, Driver, Graph, NotYetError
from virtio_trace.recording.machine_state import LogLine
from virtio_trace.recording.source import Source
from virtio_trace.report import boot_time
from virtio_trace.report.records import (
    binding_of,
    device_of,
    driver_of,
    host_of,
    log_of,
    with_counts,
)
from virtio_trace.report.state import State, at_end, replaced

SCHEMA = "virtio-trace/report/1"


Host = dict[str, Any] | None
"""The host's view of a device, as the report has it."""


class Sink(Protocol):
    """Takes the devices and bindings of a report, in any order.

    ``brief``: it needs no ``status``, and no ``phases`` of bindings.
    """

    brief: bool

    def device(self, order: int, device: dict[str, Any]) -> None:
        """Take DEVICE; they are shown by ORDER."""

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        """Take BINDING; they are shown by ORDER."""


class Reporter(Follower):
    """Reports the devices of a recording, each as soon as another one comes at its address.
    COMPLETE: whether the recording is."""

    def __init__(self, complete: bool) -> None:
        self.complete = complete
        self.log: dict[int, list[LogLine]] = {}
        """What the kernel's log says about devices, by their order; known at the end."""

    def begin(self, graph: Graph) -> None:
        """The events of GRAPH are about to be read."""
        self.graph = graph
        self.scope = scope_of(graph.recording)
        self.empty = empty_slots.EmptySlots(graph)

    @abstractmethod
    def take(self, device: Device, state: State, host: Host) -> None:
        """Report DEVICE; HOST is None except for the last device at an address. Raises NotYetError
        if that needs what comes later."""

    def device(self, device: Device) -> bool:
        """Report DEVICE, unless that needs what comes later."""
        if self.empty.take(device):
            return True
        if device.is_open:
            return False
        try:
            self.take(device, replaced(device), None)
        except NotYetError:
            return False
        return True

    def driver(self, driver: Driver) -> bool:
        """A report has the last registration of each driver only."""
        return True

    def end(self) -> None:
        """Report the other devices."""
        self.empty.end()
        latest, proof = self.graph.latest, Proof(self.graph)
        hosts = {id(device): host_of(proof, device, known) for device, known in pairs(proof)}
        said = kernel_log.warnings(self.graph)
        self.log = {latest[address].order: lines for address, lines in said.items()}
        for device in self.graph.devices:
            is_last = latest[device.address] is device
            state = at_end(proof, device, self.complete) if is_last else replaced(device)
            self.take(device, state, hosts.get(id(device)))


_R = TypeVar("_R", bound=Reporter)
_S = TypeVar("_S", bound=Sink)


def follow(recording: Source, reporter: Callable[[bool], _R]) -> _R:
    """What REPORTER, called with whether RECORDING is complete, makes, after it has followed the
    recording. Raises BadInputError.

    It is assumed to be complete if its trailer says so. If it was not, a second reading begins,
    with a new reporter.
    """
    complete = is_complete(recording)
    while True:
        made = reporter(complete)
        builder.build(recording, made)
        if is_complete(recording) == complete:
            made.end()
            return made
        complete = not complete


def stream(recording: Source, sink: Callable[[], _S]) -> tuple[dict[str, Any], _S]:
    """The report of RECORDING, in which ``devices`` and ``bindings`` are empty, and what SINK
    makes, which has them. Raises BadInputError."""
    made = follow(recording, lambda complete: _SinkReporter(complete, sink()))
    return made.report(), made.sink


def summarize(graph: Graph) -> dict[str, Any]:
    """The report of the recording of GRAPH; see :func:`summary`."""
    return summary(graph.recording)


def summary(recording: Source) -> dict[str, Any]:
    """The JSON of ``report``; docs/formats.md lists its members. Raises BadInputError."""
    report, kept = stream(recording, _Kept)
    report["devices"] = [device for _, device in sorted(kept.devices, key=itemgetter(0))]
    report["bindings"] = [binding for _, binding in sorted(kept.bindings, key=itemgetter(0))]
    return report


class _Kept:
    """Keeps everything."""

    brief = False

    def __init__(self) -> None:
        self.devices: list[tuple[int, dict[str, Any]]] = []
        self.bindings: list[tuple[int, dict[str, Any]]] = []

    def device(self, order: int, device: dict[str, Any]) -> None:
        self.devices.append((order, device))

    def binding(self, order: int, binding: dict[str, Any]) -> None:
        self.bindings.append((order, binding))


class _SinkReporter(Reporter, Generic[_S]):
    """Reports to SINK."""

    places = True

    def __init__(self, complete: bool, sink: _S) -> None:
        super().__init__(complete)
        self.sink = sink
        self._boot = boot_time.BootTime()
        self.returned = self._boot.call  # type: ignore[method-assign] # one call less for each call

    def take(self, device: Device, state: State, host: Host) -> None:
        """Report DEVICE and its bindings, if they are asked for."""
        if not self.scope.has(device.address):
            return
        brief = self.sink.brief
        shown = [
            (binding.call.event.seq, binding_of(self.graph, binding, self.complete, brief))
            for binding in device.bindings
        ]
        last = device.bindings[-1] if device.bindings else None
        if last is not None and last.unbound is None and last.call.result == 0:
            with_counts(shown[-1][1], device, host)
        known = device_of(device, state, brief)
        log = log_of(self.graph, device, self.log.get(device.order, []))
        self.sink.device(device.order, known | {"host": host, "log": log})
        for order, binding in shown:
            self.sink.binding(order, binding)
        self._boot.device(device)

    def report(self) -> dict[str, Any]:
        """The report without devices and bindings."""
        graph, recording = self.graph, self.graph.recording
        return {
            "schema": SCHEMA,
            "kernel": {"release": recording.header.release, "machine": recording.header.machine},
            "recording": describe(recording),
            "drivers": [
                driver_of(graph, driver)
                for driver in graph.drivers.values()
                if self.scope.has(driver.name)
            ],
            "devices": [],
            "bindings": [],
            "empty_slots": [
                device.address for device in self.empty.found if self.scope.has(device.address)
            ],
            "boot": self._boot.result(graph),
            **self.scope.to_json(),
        }


def describe(recording: Source) -> dict[str, Any]:
    """The report's ``recording``."""
    trailer = recording.trailer
    return {
        "events": recording.count,
        "lost": recording.lost,
        "complete": is_complete(recording),
        "started_ns": recording.header.started_ns,
        "ended": trailer.ended if trailer else None,
        "of_boot": recording.header.is_of_boot,
        "unseen": [
            {
                "probe": probe.probe,
                "function": probe.function,
                "module": probe.module,
                "reason": probe.reason,
                "without": probe.without,
                "missed": probe.missed,
            }
            for probe in blind(recording)
        ],
    }
