# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording shows of each device and driver, to hold against a board or another recording.

None is unknown. Nothing here depends on scheduling: no virtioN, no CPU, no thread, no time of day.
The calls of an attempt are those of the thread that ran virtio_dev_probe, in their order; how the
calls of two devices interleave is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from virtio_trace.check.coverage import lacks
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Binding, Device, Driver, Graph, transport
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.recording.source import Source
from virtio_trace.report.records import binding_of, device_of, driver_of
from virtio_trace.report.state import REMOVED, State
from virtio_trace.report.summary import Host, Reporter, follow
from virtio_trace.virtio import numbers
from virtio_trace.virtio.numbers import EPROBE_DEFER


@dataclass(frozen=True, slots=True)
class SeenQueue:
    """A virtqueue that was set up; see graph.negotiation.Queue."""

    index: int
    name: str | None
    size: int | None
    vector: int | None


@dataclass(frozen=True, slots=True)
class SeenCall:
    """A call inside an attempt. ``words`` names its probe point and what it did: ``set_status
    ACKNOWLEDGE``, ``setup_vq 0``. ``symbol`` is the kernel's function. ``seq`` is its event's."""

    words: str
    symbol: str
    seq: int


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """One call of virtio_dev_probe. Features are names; ``status`` has the values that were
    written; ``phases`` are in nanoseconds; ``seqs`` are the numbers of the events that show it."""

    driver: str | None
    symbol: str | None
    result: int | None
    step: str | None
    reason: str | None
    offered: tuple[str, ...] | None
    wanted: tuple[str, ...] | None
    negotiated: tuple[str, ...] | None
    status: tuple[int, ...] | None
    interrupts: str | None
    queues: tuple[SeenQueue, ...] | None
    calls: tuple[SeenCall, ...]
    phases: dict[str, int]
    duration_ns: int | None
    seqs: tuple[int, ...]

    @property
    def is_deferred(self) -> bool:
        """Whether it returned -EPROBE_DEFER: the kernel tries again (drivers/base/dd.c)."""
        return self.result == -EPROBE_DEFER


@dataclass(frozen=True, slots=True)
class SeenDevice:
    """A device. ``nth`` counts those that came at its address, from 0. ``features`` are those
    negotiated, by the last attempt or by sysfs. ``registered`` is the result of
    register_virtio_device, ``calls`` are those in it and in no attempt. ``seqs`` shows its
    registration and its removal."""

    address: str
    nth: int
    type: str | None
    transport: str
    state: str
    reason: str | None
    driver: str | None
    features: tuple[str, ...] | None
    registered: int | None
    calls: tuple[SeenCall, ...]
    attempts: tuple[SeenAttempt, ...]
    seqs: tuple[int, ...]

    @property
    def is_there(self) -> bool:
        """Whether it exists at the end."""
        return self.state != REMOVED

    @property
    def bound(self) -> SeenAttempt | None:
        """The attempt that bound it last; None if none was recorded."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.result == 0 else None


@dataclass(frozen=True, slots=True)
class SeenDriver:
    """The last registration of a driver. ``ended``: whether it has unregistered."""

    name: str
    module: str | None
    builtin: bool | None
    result: int | None
    ended: bool
    matches: tuple[str, ...]
    seqs: tuple[int, ...]


@dataclass(slots=True)
class Seen:
    """What a recording shows. ``lacks`` says what it does not show, one sentence each.
    ``points`` are the probe points that were armed.
    ``has_all``: every device that exists at the end is among the devices. ``last_seq``: of its
    last event; 0 without one."""

    release: str
    machine: str | None
    lacks: list[str]
    has_all: bool
    last_seq: int
    points: frozenset[str]
    devices: list[SeenDevice] = field(default_factory=list)
    drivers: list[SeenDriver] = field(default_factory=list)


def seen(recording: Source) -> Seen:
    """What RECORDING shows. Raises BadInputError."""
    made = follow(recording, _Collector)
    header, missing = recording.header, lacks(recording)
    trailer = recording.trailer
    devices = [device for _, device in sorted(made.devices, key=lambda item: item[0])]
    at_end = trailer.end_state if trailer is not None else None
    there = {device.address for device in devices}
    listed = at_end is not None and all(shown.address in there for shown in at_end.devices)
    return Seen(
        release=header.release,
        machine=header.machine,
        lacks=missing,
        has_all=made.complete or listed,
        last_seq=recording.last_seq,
        points=frozenset(state.probe for state in recording.probes if state.state == ARMED),
        devices=devices,
        drivers=[_driver(made.graph, driver) for driver in made.graph.drivers.values()],
    )


class _Collector(Reporter):
    """Collects the devices of a recording, with their orders."""

    def __init__(self, complete: bool) -> None:
        super().__init__(complete)
        self.devices: list[tuple[int, SeenDevice]] = []

    def take(self, device: Device, state: State, host: Host) -> None:
        """Collect DEVICE."""
        attempts = tuple(_attempt(self.graph, one, self.complete) for one in device.bindings)
        self.devices.append((device.order, _device(device, state, attempts)))


def _device(device: Device, state: State, attempts: tuple[SeenAttempt, ...]) -> SeenDevice:
    shown = device_of(device, state, brief=True)
    in_sysfs = shown["in_sysfs"]
    features = attempts[-1].negotiated if attempts else None
    if features is None and in_sysfs is not None and in_sysfs["features"] is not None:
        features = tuple(in_sysfs["features"])
    binds = [binding.call for binding in device.bindings]
    own = [
        call
        for call in device.init_calls
        if call.inside(device.register) and not any(call.inside(bind) for bind in binds)
    ]
    return SeenDevice(
        address=device.address,
        nth=device.generation,
        type=shown["type"],
        transport=transport(device),
        state=state.state,
        reason=state.reason,
        driver=state.driver,
        features=features,
        registered=device.register.result if device.register is not None else None,
        calls=_calls(own),
        attempts=attempts,
        seqs=_seqs([device.transport, device.register, device.unregister]),
    )


def _attempt(graph: Graph, binding: Binding, complete: bool) -> SeenAttempt:
    shown = binding_of(graph, binding, complete, brief=False)
    features, status, queues = shown["features"], shown["status"], shown["queues"]
    calls = [call for call in binding.device.init_calls if call.inside(binding.call)]
    return SeenAttempt(
        driver=binding.driver,
        symbol=shown["symbol"],
        result=shown["result"],
        step=shown["step"],
        reason=shown["reason"],
        offered=_tuple(features["offered"]),
        wanted=_tuple(features["driver"]),
        negotiated=_tuple(features["negotiated"]),
        status=None if status is None else tuple(write["value"] for write in status),
        interrupts=shown["interrupts"],
        queues=None
        if queues is None
        else tuple(SeenQueue(q["index"], q["name"], q["size"], q["vector"]) for q in queues),
        calls=_calls(calls),
        phases={
            phase["name"]: phase["duration_ns"]
            for phase in shown["phases"] or ()
            if phase["duration_ns"] is not None
        },
        duration_ns=shown["duration_ns"],
        seqs=_seqs([binding.match, binding.call, binding.probe, binding.unbound]),
    )


def _driver(graph: Graph, driver: Driver) -> SeenDriver:
    shown = driver_of(graph, driver)
    return SeenDriver(
        name=driver.name,
        module=shown["module"],
        builtin=shown["builtin"],
        result=shown["result"],
        ended=driver.unregister is not None,
        matches=tuple(sorted(shown["matches"])),
        seqs=_seqs([driver.register, driver.unregister]),
    )


def _calls(calls: list[Call]) -> tuple[SeenCall, ...]:
    return tuple(SeenCall(_words(call), call.event.symbol, call.event.seq) for call in calls)


def _words(call: Call) -> str:
    event = call.event
    detail, probe = event.detail, event.probe or "?"
    if detail is not None and detail.status is not None:
        return f"{probe} {' '.join(numbers.status_names(detail.status)) or '0'}"
    details = [e.detail for e in (call.entry, call.ret) if e is not None and e.detail is not None]
    index = next((one.queue for one in details if one.queue is not None), None)
    return probe if index is None else f"{probe} {index}"


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _seqs(calls: list[Call | None]) -> tuple[int, ...]:
    return tuple(sorted({seq for call in calls if call is not None for seq in call.seqs}))
